package client

import (
	"context"
	"net/url"
	"strconv"
)

// Variable is an environment variable of an app.
type Variable struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Variables lists an app's variables. With resolved, values of the form
// $OTHER are replaced by the value of OTHER.
func (c *Client) Variables(ctx context.Context, app string, resolved bool) ([]Variable, error) {
	var answer struct {
		Variables []Variable `json:"variables"`
	}
	query := url.Values{"aliases": {strconv.FormatBool(!resolved)}}
	_, err := c.do(ctx, request{method: "GET", path: "/apps/" + segment(app) + "/variables", query: query, want: []int{200}, doing: "cannot list the variables"}, &answer)
	return answer.Variables, err
}

// SetVariables sets variables, all or none, and leaves the others alone.
func (c *Client) SetVariables(ctx context.Context, app string, vars []Variable) error {
	body := map[string]any{"variables": vars}
	_, err := c.do(ctx, request{method: "PUT", path: "/apps/" + segment(app) + "/variables", body: body, want: []int{200, 201}, doing: "cannot set the variables"}, nil)
	return err
}

// UnsetVariable removes the variable with an id.
func (c *Client) UnsetVariable(ctx context.Context, app, id string) error {
	_, err := c.do(ctx, request{method: "DELETE", path: "/apps/" + segment(app) + "/variables/" + segment(id), want: []int{204}, doing: "cannot unset the variable"}, nil)
	return err
}
