package client

import (
	"context"
	"net/url"
	"time"
)

// App is a deployable unit. Every method that takes an app takes its name or
// its id.
type App struct {
	ID              string    `json:"id"`
	Name            string    `json:"name"`
	Status          string    `json:"status"`
	Region          string    `json:"region,omitempty"`
	Owner           User      `json:"owner"`
	Project         Project   `json:"project"`
	URL             string    `json:"url"`
	GitURL          string    `json:"git_url,omitempty"`
	StackID         string    `json:"stack_id,omitempty"`
	ForceHTTPS      bool      `json:"force_https"`
	StickySession   bool      `json:"sticky_session"`
	RouterLogs      bool      `json:"router_logs"`
	PrivateNetworks []string  `json:"private_networks_ids,omitempty"`
	CreatedAt       time.Time `json:"created_at,omitzero"`
	UpdatedAt       time.Time `json:"updated_at,omitzero"`
	LastDeployedAt  time.Time `json:"last_deployed_at,omitzero"`
	LastDeployedBy  string    `json:"last_deployed_by,omitempty"`
	Links           struct {
		// DeploymentsStream is the address of FollowDeployment's socket.
		DeploymentsStream string `json:"deployments_stream,omitempty"`
	} `json:"links"`
}

// Apps lists all apps the user may see.
func (c *Client) Apps(ctx context.Context) ([]App, error) {
	var answer struct {
		Apps []App `json:"apps"`
	}
	_, err := c.do(ctx, request{method: "GET", path: "/apps", want: []int{200}, doing: "cannot list the apps"}, &answer)
	return answer.Apps, err
}

// App returns one app.
func (c *Client) App(ctx context.Context, app string) (App, error) {
	return c.app(ctx, request{method: "GET", path: "/apps/" + segment(app), want: []int{200}, doing: "cannot show the app"})
}

// CreateApp makes an app in a project; with projectID "" in the user's
// default project.
func (c *Client) CreateApp(ctx context.Context, name, projectID string) (App, error) {
	app := map[string]any{"name": name}
	if projectID != "" {
		app["project_id"] = projectID
	}
	return c.app(ctx, request{method: "POST", path: "/apps", body: map[string]any{"app": app}, want: []int{201}, doing: "cannot create the app"})
}

// RenameApp gives an app another name, and so another public address.
func (c *Client) RenameApp(ctx context.Context, name, newName string) (App, error) {
	body := map[string]string{"current_name": name, "new_name": newName}
	return c.app(ctx, request{method: "POST", path: "/apps/" + segment(name) + "/rename", body: body, want: []int{200}, doing: "cannot rename the app"})
}

// DestroyApp stops and deletes an app with everything that belongs to it.
func (c *Client) DestroyApp(ctx context.Context, name string) error {
	query := url.Values{"current_name": {name}}
	_, err := c.do(ctx, request{method: "DELETE", path: "/apps/" + segment(name), query: query, want: []int{204}, doing: "cannot destroy the app"}, nil)
	return err
}

func (c *Client) app(ctx context.Context, r request) (App, error) {
	var answer struct {
		App App `json:"app"`
	}
	_, err := c.do(ctx, r, &answer)
	return answer.App, err
}
