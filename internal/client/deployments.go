package client

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// Deployment is one run of the pipeline.
type Deployment struct {
	ID        string    `json:"id"`
	AppID     string    `json:"app_id"`
	Status    string    `json:"status"`
	GitRef    string    `json:"git_ref"`
	Image     string    `json:"image,omitempty"`
	ImageSize int64     `json:"image_size"`
	Pusher    User      `json:"pusher"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	// Duration is in seconds.
	Duration int `json:"duration"`
	// Error is the reason of a failure where the server gives one.
	Error string `json:"error,omitempty"`
	Links struct {
		Output string `json:"output,omitempty"`
	} `json:"links"`
}

// Final reports whether the deployment is over.
func (d Deployment) Final() bool {
	return d.Status != "" && platform.DeploymentStatus(d.Status).Final()
}

// Succeeded reports whether the new version runs.
func (d Deployment) Succeeded() bool {
	return d.Status == string(platform.DeploymentSuccess)
}

// Deployments lists a page of an app's deployments, newest first.
func (c *Client) Deployments(ctx context.Context, app string, page Page) ([]Deployment, Pagination, error) {
	var answer struct {
		Deployments []Deployment `json:"deployments"`
		paged
	}
	_, err := c.do(ctx, request{method: "GET", path: "/apps/" + segment(app) + "/deployments", query: page.query(), want: []int{200}, doing: "cannot list the deployments"}, &answer)
	return answer.Deployments, answer.Meta.Pagination, err
}

// Deployment returns one deployment.
func (c *Client) Deployment(ctx context.Context, app, id string) (Deployment, error) {
	return c.deployment(ctx, request{method: "GET", path: "/apps/" + segment(app) + "/deployments/" + segment(id), want: []int{200}, doing: "cannot show the deployment"})
}

// CreateDeployment starts to deploy an uploaded source. ref names the version
// and may be "".
func (c *Client) CreateDeployment(ctx context.Context, app string, s Source, ref string) (Deployment, error) {
	wish := map[string]any{"source_url": s.DownloadURL, "git_ref": nil}
	if ref != "" {
		wish["git_ref"] = ref
	}
	return c.deployment(ctx, request{method: "POST", path: "/apps/" + segment(app) + "/deployments",
		body: map[string]any{"deployment": wish}, want: []int{201}, doing: "cannot deploy"})
}

// DeploymentOutput returns the build output so far, "" when there is none.
func (c *Client) DeploymentOutput(ctx context.Context, d Deployment) (string, error) {
	const doing = "cannot get the output of the deployment"
	link, err := url.Parse(d.Links.Output)
	if err != nil || d.Links.Output == "" {
		return "", fmt.Errorf("%s: the server names no address for it", doing)
	}
	var text string
	err = c.authorized(ctx, func(jwt string) (err error) {
		text, err = c.getText(ctx, c.base.ResolveReference(link).String(), "Bearer "+jwt)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	return text, nil
}

func (c *Client) deployment(ctx context.Context, r request) (Deployment, error) {
	var answer struct {
		Deployment Deployment `json:"deployment"`
	}
	_, err := c.do(ctx, r, &answer)
	return answer.Deployment, err
}
