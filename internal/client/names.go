package client

import (
	"context"
)

// namesPerPage is the most that the server gives at once.
const namesPerPage = 50

// Names lists all private DNS names of an app, with their final dots.
func (c *Client) Names(ctx context.Context, app string) ([]string, error) {
	var names []string
	for page := 1; ; page++ {
		var answer struct {
			DomainNames struct {
				Data []string `json:"data"`
				Meta struct {
					TotalPages int `json:"total_pages"`
				} `json:"meta"`
			} `json:"domain_names"`
		}
		_, err := c.do(ctx, request{method: "GET", path: "/apps/" + segment(app) + "/private_network_domain_names",
			query: Page{Number: page, Size: namesPerPage}.query(), want: []int{200}, doing: "cannot list the private names"}, &answer)
		if err != nil {
			return nil, err
		}
		names = append(names, answer.DomainNames.Data...)
		if page >= answer.DomainNames.Meta.TotalPages || len(answer.DomainNames.Data) == 0 {
			return names, nil
		}
	}
}
