package api

import (
	"net/http"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// appJSON is an app.
type appJSON struct {
	ID                string          `json:"id"`
	Name              string          `json:"name"`
	Region            string          `json:"region"`
	Owner             userJSON        `json:"owner"`
	Project           projectRef      `json:"project"`
	GitURL            string          `json:"git_url"`
	URL               string          `json:"url"`
	BaseURL           string          `json:"base_url"`
	Status            string          `json:"status"`
	StackID           string          `json:"stack_id"`
	LastDeployedAt    *time.Time      `json:"last_deployed_at"`
	LastDeployedBy    string          `json:"last_deployed_by"`
	CreatedAt         *time.Time      `json:"created_at"`
	UpdatedAt         *time.Time      `json:"updated_at"`
	Links             appLinks        `json:"links"`
	StickySession     bool            `json:"sticky_session"`
	ForceHTTPS        bool            `json:"force_https"`
	RouterLogs        bool            `json:"router_logs"`
	HDSResource       bool            `json:"hds_resource"`
	Flags             map[string]bool `json:"flags"`
	Limits            map[string]any  `json:"limits"`
	PrivateNetworkIDs []string        `json:"private_networks_ids"`
}

type projectRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// appLinks must be there: clients that follow deployments crash without it.
type appLinks struct {
	DeploymentsStream string `json:"deployments_stream"`
}

func (q *request) showApp(app platform.App, project platform.Project) (appJSON, error) {
	owner, err := q.person(app.OwnerID)
	url := q.api.AppURL(app.Name)
	return appJSON{
		ID: app.ID, Name: app.Name, Region: q.api.Region, Owner: showUser(owner),
		Project: projectRef{ID: project.ID, Name: project.Name},
		GitURL:  q.api.GitURL(app.Name), URL: url, BaseURL: url,
		Status: string(app.Status), StackID: app.StackID,
		LastDeployedAt: date(app.LastDeployedAt), LastDeployedBy: app.LastDeployedBy,
		CreatedAt: date(app.CreatedAt), UpdatedAt: date(app.UpdatedAt),
		// The id: a stream outlives a rename.
		Links:         appLinks{DeploymentsStream: q.socketBase() + "/v1/apps/" + app.ID + "/deployments/stream"},
		StickySession: app.StickySession, ForceHTTPS: app.ForceHTTPS, RouterLogs: app.RouterLogs,
		Flags: map[string]bool{}, Limits: map[string]any{}, PrivateNetworkIDs: []string{project.Network.ID},
	}, err
}

func (a *API) listApps(q *request) (response, error) {
	apps, err := a.Store.Apps(q.Context(), q.user.ID)
	if err != nil {
		return nil, err
	}
	projects, err := a.Store.Projects(q.Context(), q.user.ID)
	if err != nil {
		return nil, err
	}
	byID := map[string]platform.Project{}
	for _, p := range projects {
		byID[p.ID] = p
	}
	list := make([]appJSON, 0, len(apps))
	for _, app := range apps {
		shown, err := q.showApp(app, byID[app.ProjectID])
		if err != nil {
			return nil, err
		}
		list = append(list, shown)
	}
	return ok(object{"apps": list})
}

func (a *API) createApp(q *request) (response, error) {
	var in struct {
		App *struct {
			Name        string `json:"name"`
			ProjectID   string `json:"project_id"`
			StackID     string `json:"stack_id"`
			ParentID    string `json:"parent_id"`
			HDSResource bool   `json:"hds_resource"`
		} `json:"app"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	switch {
	case in.App == nil:
		return nil, badRequest(`the body must be {"app": {...}}`)
	case q.Header.Get("X-Dry-Run") == "true":
		return nil, badRequest("this server has no dry run; nothing was created")
	case in.App.ParentID != "":
		return nil, platform.Invalid("parent_id", "this server has no child apps; leave it out")
	case in.App.HDSResource:
		return nil, platform.Invalid("hds_resource", "this server is not certified for health data; leave it out")
	}
	app, err := a.Control.CreateApp(q.Context(), q.user, in.App.Name, in.App.ProjectID, in.App.StackID)
	if err != nil {
		return nil, err
	}
	return q.withApp(http.StatusCreated, app)
}

func (a *API) showApp(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	return q.withApp(http.StatusOK, app)
}

// updateApp takes the switches and the project, without a root key.
func (a *API) updateApp(q *request) (response, error) {
	var in struct {
		ForceHTTPS    *bool   `json:"force_https"`
		StickySession *bool   `json:"sticky_session"`
		RouterLogs    *bool   `json:"router_logs"`
		ProjectID     *string `json:"project_id"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	if in.ProjectID != nil {
		if err := a.checkMove(q, app, *in.ProjectID); err != nil {
			return nil, err
		}
	}
	changes := store.AppChanges{ForceHTTPS: in.ForceHTTPS, StickySession: in.StickySession, RouterLogs: in.RouterLogs}
	if changes != (store.AppChanges{}) {
		if app, err = a.Control.UpdateApp(q.Context(), q.user, app.ID, changes); err != nil {
			return nil, err
		}
	} else if in.ProjectID == nil {
		return nil, badRequest("the body must have one of force_https, sticky_session, router_logs, project_id")
	}
	return q.withApp(http.StatusOK, app)
}

// patchApp takes the stack and the owner, below "app". Both can only be set
// to what they are.
func (a *API) patchApp(q *request) (response, error) {
	var in struct {
		App *struct {
			StackID *string         `json:"stack_id"`
			Owner   *map[string]any `json:"owner"`
		} `json:"app"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	app, err := q.app()
	switch {
	case err != nil:
		return nil, err
	case in.App == nil || in.App.StackID == nil && in.App.Owner == nil:
		return nil, badRequest(`the body must be {"app": {"stack_id": "..."}}`)
	case in.App.Owner != nil:
		return nil, platform.Invalid("owner", "an app cannot be given to another user; let them create it and deploy there")
	}
	stack, err := a.Store.StackByID(q.Context(), *in.App.StackID)
	if err != nil {
		return nil, err
	}
	if stack.ID != app.StackID {
		return nil, platform.Invalid("stack_id", "the stack of an app cannot be changed; create a new app on stack %s and deploy there", stack.Name)
	}
	return q.withApp(http.StatusOK, app)
}

func (a *API) renameApp(q *request) (response, error) {
	var in struct {
		CurrentName string `json:"current_name"`
		NewName     string `json:"new_name"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	if err := confirm(app, in.CurrentName); err != nil {
		return nil, err
	}
	if app, err = a.Control.RenameApp(q.Context(), q.user, app.ID, in.NewName); err != nil {
		return nil, err
	}
	return q.withApp(http.StatusOK, app)
}

func (a *API) destroyApp(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	if err := confirm(app, q.URL.Query().Get("current_name")); err != nil {
		return nil, err
	}
	if err := a.Control.DestroyApp(q.Context(), q.user, app.ID); err != nil {
		return nil, err
	}
	return noContent()
}

// Private

func (q *request) withApp(status int, app platform.App) (response, error) {
	project, err := q.api.Store.ProjectByID(q.Context(), app.ProjectID)
	if err != nil {
		return nil, err
	}
	shown, err := q.showApp(app, project)
	if err != nil {
		return nil, err
	}
	return answer(status, object{"app": shown}), nil
}

// checkMove refuses to move an app (PN-7): its private names would change
// under everybody who uses them, and it would be in the reach of others.
func (a *API) checkMove(q *request, app platform.App, projectID string) error {
	if projectID == app.ProjectID {
		return nil
	}
	p, err := a.Store.Project(q.Context(), q.user.ID, projectID)
	if err != nil {
		return err
	}
	return platform.Invalid("project_id", "an app cannot move to another project, because its private network would change; "+
		"create a new app in project %s and deploy there", p.Name)
}

// confirm compares the name that the client believes the app has: it guards
// against destroying by a script that has the wrong id.
func confirm(app platform.App, current string) error {
	if current != app.Name {
		return platform.Invalid("current_name", "must be the present name of the app, %s (got %q)", app.Name, current)
	}
	return nil
}
