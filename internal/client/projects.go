package client

import (
	"context"
	"time"
)

// Project groups apps; it is the boundary of a private network.
type Project struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Default   bool            `json:"default"`
	Flags     map[string]bool `json:"flags,omitempty"`
	Owner     User            `json:"owner"`
	CreatedAt time.Time       `json:"created_at,omitzero"`
	UpdatedAt time.Time       `json:"updated_at,omitzero"`
}

// HasNetwork reports whether the project has a private network to show.
func (p Project) HasNetwork() bool { return p.Flags["private-network"] }

// PrivateNetwork is the network view of a project.
type PrivateNetwork struct {
	ID       string   `json:"id"`
	Subnet   string   `json:"subnet"`
	Gateway  string   `json:"gateway"`
	MaxIPs   int      `json:"max_ips_count"`
	UsedIPs  int      `json:"used_ips_count"`
	UsedList []string `json:"used_ips"`
}

// Projects lists the user's projects.
func (c *Client) Projects(ctx context.Context) ([]Project, error) {
	var answer struct {
		Projects []Project `json:"projects"`
	}
	_, err := c.do(ctx, request{method: "GET", path: "/projects", want: []int{200}, doing: "cannot list the projects"}, &answer)
	return answer.Projects, err
}

// Project returns one project by id.
func (c *Client) Project(ctx context.Context, id string) (Project, error) {
	return c.project(ctx, request{method: "GET", path: "/projects/" + segment(id), want: []int{200}, doing: "cannot show the project"})
}

// CreateProject makes a project; it becomes the default one if asked.
func (c *Client) CreateProject(ctx context.Context, name string, makeDefault bool) (Project, error) {
	body := map[string]any{"project": map[string]any{"name": name, "default": makeDefault}}
	return c.project(ctx, request{method: "POST", path: "/projects", body: body, want: []int{201}, doing: "cannot create the project"})
}

// RenameProject gives the project another name.
func (c *Client) RenameProject(ctx context.Context, id, name string) (Project, error) {
	body := map[string]any{"project": map[string]any{"name": name}}
	return c.project(ctx, request{method: "PATCH", path: "/projects/" + segment(id), body: body, want: []int{200}, doing: "cannot rename the project"})
}

// DeleteProject deletes a project that has no apps and is not the default
// one; otherwise the error has status 409.
func (c *Client) DeleteProject(ctx context.Context, id string) error {
	_, err := c.do(ctx, request{method: "DELETE", path: "/projects/" + segment(id), want: []int{204}, doing: "cannot delete the project"}, nil)
	return err
}

// ProjectNetwork returns the private network of a project.
func (c *Client) ProjectNetwork(ctx context.Context, id string) (PrivateNetwork, error) {
	var answer PrivateNetwork
	_, err := c.do(ctx, request{method: "GET", path: "/projects/" + segment(id) + "/private_network", want: []int{200}, doing: "cannot show the private network"}, &answer)
	return answer, err
}

func (c *Client) project(ctx context.Context, r request) (Project, error) {
	var answer struct {
		Project Project `json:"project"`
	}
	_, err := c.do(ctx, r, &answer)
	return answer.Project, err
}
