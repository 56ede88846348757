package api

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// deploymentJSON is a deployment. Pusher and links must be there: clients
// crash without them.
type deploymentJSON struct {
	ID             string     `json:"id"`
	AppID          string     `json:"app_id"`
	CreatedAt      *time.Time `json:"created_at"`
	Status         string     `json:"status"`
	GitRef         string     `json:"git_ref"`
	Image          string     `json:"image"`
	Registry       string     `json:"registry"`
	Duration       int        `json:"duration"`
	PostdeployHook string     `json:"postdeploy_hook"`
	ImageSize      int64      `json:"image_size"`
	StackBaseImage string     `json:"stack_base_image"`
	Pusher         userJSON   `json:"pusher"`
	Links          struct {
		Output string `json:"output"`
	} `json:"links"`
	// Error says why it failed; the original API has only the status.
	Error string `json:"error"`
}

func (q *request) showDeployment(d platform.Deployment) (deploymentJSON, error) {
	pusher, err := q.person(d.PusherID)
	shown := deploymentJSON{ID: d.ID, AppID: d.AppID, CreatedAt: &d.CreatedAt, Status: string(d.Status), GitRef: d.GitRef,
		Image: d.Image, ImageSize: d.ImageSize, Pusher: showUser(pusher), Error: d.Error, PostdeployHook: d.PostdeployHook}
	if !d.FinishedAt.IsZero() {
		shown.Duration = int(d.FinishedAt.Sub(d.CreatedAt).Seconds())
	}
	shown.Links.Output = q.base() + "/v1/apps/" + d.AppID + "/deployments/" + d.ID + "/output"
	return shown, err
}

// Sizes of a page of deployments.
const (
	deploymentsPerPage    = 20
	maxDeploymentsPerPage = 100
)

func (a *API) listDeployments(q *request) (response, error) {
	page, err := q.page(deploymentsPerPage, maxDeploymentsPerPage)
	if err != nil {
		return nil, err
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	deployments, total, err := a.Store.Deployments(q.Context(), app.ID, page)
	if err != nil {
		return nil, err
	}
	list := make([]deploymentJSON, 0, len(deployments))
	for _, d := range deployments {
		shown, err := q.showDeployment(d)
		if err != nil {
			return nil, err
		}
		list = append(list, shown)
	}
	return ok(paged("deployments", list, page, total))
}

func (a *API) createDeployment(q *request) (response, error) {
	var in struct {
		Deployment *struct {
			GitRef    string `json:"git_ref"`
			SourceURL string `json:"source_url"`
		} `json:"deployment"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Deployment == nil {
		return nil, badRequest(`the body must be {"deployment": {"source_url": "...", "git_ref": "..."}}`)
	}
	if err := checkGitRef(in.Deployment.GitRef); err != nil {
		return nil, err
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	source, err := a.sourceOf(q, in.Deployment.SourceURL)
	if err != nil {
		return nil, err
	}
	d, err := a.Control.Deploy(q.Context(), q.user, app.ID, in.Deployment.GitRef, source)
	if err != nil {
		return nil, err
	}
	shown, err := q.showDeployment(d)
	if err != nil {
		return nil, err
	}
	return created(object{"deployment": shown})
}

func (a *API) showDeployment(q *request) (response, error) {
	d, err := q.deployment()
	if err != nil {
		return nil, err
	}
	shown, err := q.showDeployment(d)
	if err != nil {
		return nil, err
	}
	return ok(object{"deployment": shown})
}

func (a *API) deploymentOutput(q *request) (response, error) {
	d, err := q.deployment()
	if err != nil {
		return nil, err
	}
	output, err := a.Deployments.Output(d.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, platform.NotFound("deployment_output", "there is no output of this deployment")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the output of deployment %s: %w", d.ID, err)
	}
	return text(output)
}

func (a *API) clearCache(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	if err := a.ClearCache(app.ID); err != nil {
		return nil, fmt.Errorf("cannot clear the build cache of %s: %w", app.Name, err)
	}
	return noContent()
}

// Private

// maxGitRef bounds the version a user gives; it becomes a variable of the
// containers' environment.
const maxGitRef = 255

func checkGitRef(ref string) error {
	if len(ref) > maxGitRef {
		return platform.Invalid("git_ref", "has %d bytes, at most %d are allowed", len(ref), maxGitRef)
	}
	for _, c := range ref {
		if c < ' ' || c == 0x7f {
			return platform.Invalid("git_ref", "must not hold control characters")
		}
	}
	return nil
}

func (q *request) deployment() (platform.Deployment, error) {
	app, err := q.app()
	if err != nil {
		return platform.Deployment{}, err
	}
	return q.api.Store.Deployment(q.Context(), app.ID, q.PathValue("id"))
}
