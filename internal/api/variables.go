package api

import (
	"github.com/atollhq/atoll/internal/platform"
)

// variableJSON is a variable of an app's environment.
type variableJSON struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

func showVariables(vars []platform.Variable) []variableJSON {
	list := make([]variableJSON, 0, len(vars))
	for _, v := range vars {
		list = append(list, variableJSON{ID: v.ID, Name: v.Name, Value: v.Value})
	}
	return list
}

// listVariables shows values as written, or with aliases=false with $OTHER
// replaced by the value of OTHER (EV-11).
func (a *API) listVariables(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	vars, err := a.Store.Variables(q.Context(), app.ID)
	if err != nil {
		return nil, err
	}
	if q.URL.Query().Get("aliases") == "false" {
		values := make(map[string]string, len(vars))
		for _, v := range vars {
			values[v.Name] = v.Value
		}
		values = platform.ResolveAliases(values)
		for i := range vars {
			vars[i].Value = values[vars[i].Name]
		}
	}
	return ok(object{"variables": showVariables(vars)})
}

func (a *API) createVariable(q *request) (response, error) {
	var in struct {
		Variable *variableJSON `json:"variable"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Variable == nil {
		return nil, badRequest(`the body must be {"variable": {"name": "...", "value": "..."}}`)
	}
	vars, err := a.putVariables(q, []variableJSON{*in.Variable})
	if err != nil {
		return nil, err
	}
	return created(object{"variable": vars[0]})
}

// setVariables adds and changes variables; the others stay.
func (a *API) setVariables(q *request) (response, error) {
	var in struct {
		Variables []variableJSON `json:"variables"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if len(in.Variables) == 0 {
		return nil, badRequest(`the body must be {"variables": [{"name": "...", "value": "..."}, ...]}`)
	}
	vars, err := a.putVariables(q, in.Variables)
	if err != nil {
		return nil, err
	}
	return ok(object{"variables": vars})
}

func (a *API) deleteVariable(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	if err := a.Control.DeleteVariable(q.Context(), q.user, app.ID, q.PathValue("id")); err != nil {
		return nil, err
	}
	return noContent()
}

// Private

// putVariables refuses a name that is given twice with two values: which one
// wins would be a guess.
func (a *API) putVariables(q *request, in []variableJSON) ([]variableJSON, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	var vars []platform.Variable
	for _, v := range in {
		value, twice := seen[v.Name]
		switch {
		case twice && value != v.Value:
			return nil, platform.Invalid("name", "variable %s is given twice with different values", v.Name)
		case twice:
			continue
		}
		if err := platform.ValidateVariable(v.Name, v.Value); err != nil {
			return nil, err
		}
		seen[v.Name] = v.Value
		vars = append(vars, platform.Variable{Name: v.Name, Value: v.Value})
	}
	vars, err = a.Control.SetVariables(q.Context(), q.user, app.ID, vars)
	if err != nil {
		return nil, err
	}
	return showVariables(vars), nil
}
