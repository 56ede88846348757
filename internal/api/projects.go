package api

import (
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// projectJSON is a project.
type projectJSON struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Default   bool            `json:"default"`
	Owner     userJSON        `json:"owner"`
	Flags     map[string]bool `json:"flags"`
	CreatedAt *time.Time      `json:"created_at"`
	UpdatedAt *time.Time      `json:"updated_at"`
}

// showProject: every project has a private network, which the flag tells.
func (q *request) showProject(p platform.Project) (projectJSON, error) {
	owner, err := q.person(p.OwnerID)
	return projectJSON{ID: p.ID, Name: p.Name, Default: p.Default, Owner: showUser(owner),
		Flags: map[string]bool{"private-network": true}, CreatedAt: date(p.CreatedAt), UpdatedAt: date(p.UpdatedAt)}, err
}

// projectInput is {"project": {...}}; nil fields were not given.
type projectInput struct {
	Project *struct {
		Name    *string `json:"name"`
		Default *bool   `json:"default"`
	} `json:"project"`
}

func (q *request) projectInput() (in projectInput, err error) {
	if err := q.decode(&in); err != nil {
		return in, err
	}
	if in.Project == nil {
		return in, badRequest(`the body must be {"project": {...}}`)
	}
	return in, nil
}

func (a *API) listProjects(q *request) (response, error) {
	projects, err := a.Store.Projects(q.Context(), q.user.ID)
	if err != nil {
		return nil, err
	}
	list := make([]projectJSON, 0, len(projects))
	for _, p := range projects {
		shown, err := q.showProject(p)
		if err != nil {
			return nil, err
		}
		list = append(list, shown)
	}
	return ok(object{"projects": list})
}

func (a *API) createProject(q *request) (response, error) {
	in, err := q.projectInput()
	if err != nil {
		return nil, err
	}
	if in.Project.Name == nil {
		return nil, platform.Invalid("name", "must be given")
	}
	p, err := a.Control.CreateProject(q.Context(), q.user, *in.Project.Name, in.Project.Default != nil && *in.Project.Default)
	if err != nil {
		return nil, err
	}
	shown, err := q.showProject(p)
	if err != nil {
		return nil, err
	}
	return created(object{"project": shown})
}

func (a *API) showProject(q *request) (response, error) {
	p, err := a.Store.Project(q.Context(), q.user.ID, q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return q.okProject(p)
}

func (a *API) updateProject(q *request) (response, error) {
	in, err := q.projectInput()
	if err != nil {
		return nil, err
	}
	p, err := a.Store.Project(q.Context(), q.user.ID, q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	makeDefault := in.Project.Default != nil && *in.Project.Default
	if in.Project.Default != nil && !makeDefault && p.Default {
		return nil, platform.Invalid("default", "cannot be taken away; make another project the default one")
	}
	p, err = a.Control.UpdateProject(q.Context(), q.user, p.ID, in.Project.Name, makeDefault)
	if err != nil {
		return nil, err
	}
	return q.okProject(p)
}

func (a *API) deleteProject(q *request) (response, error) {
	p, err := a.Store.Project(q.Context(), q.user.ID, q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := a.Control.DeleteProject(q.Context(), q.user, p.ID); err != nil {
		return nil, err
	}
	return noContent()
}

// Private

func (q *request) okProject(p platform.Project) (response, error) {
	shown, err := q.showProject(p)
	if err != nil {
		return nil, err
	}
	return ok(object{"project": shown})
}
