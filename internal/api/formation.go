package api

import (
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// processTypeJSON is a process type of the formation; the API calls it a
// container type.
type processTypeJSON struct {
	AppID   string `json:"app_id"`
	Name    string `json:"name"`
	Amount  int    `json:"amount"`
	Command string `json:"command"`
	Size    string `json:"size"`
}

func showFormation(types []platform.ProcessType) []processTypeJSON {
	list := make([]processTypeJSON, 0, len(types))
	for _, t := range types {
		list = append(list, processTypeJSON{AppID: t.AppID, Name: t.Name, Amount: t.Amount, Command: t.Command, Size: t.Size})
	}
	return list
}

// operationJSON is work that a client may wait for.
type operationJSON struct {
	ID         string     `json:"id"`
	AppID      string     `json:"app_id"`
	Type       string     `json:"type"`
	Status     string     `json:"status"`
	Error      string     `json:"error"`
	CreatedAt  *time.Time `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at"`
	// StartOneOff is there for operations of type "start-one-off".
	StartOneOff *startOneOffJSON `json:"start_one_off_data,omitempty"`
}

type startOneOffJSON struct {
	AttachURL   string `json:"attach_url"`
	ContainerID string `json:"container_id"`
}

func showOperation(o platform.Operation) operationJSON {
	return operationJSON{ID: o.ID, AppID: o.AppID, Type: o.Type, Status: string(o.Status), Error: o.Error,
		CreatedAt: date(o.CreatedAt), FinishedAt: date(o.FinishedAt)}
}

func (a *API) listFormation(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	types, err := a.Store.Formation(q.Context(), app.ID)
	if err != nil {
		return nil, err
	}
	return ok(object{"containers": showFormation(types)})
}

// scale changes amounts and sizes and answers with the whole formation: 202
// with the operation in Location, or 200 when nothing runs that would change.
func (a *API) scale(q *request) (response, error) {
	var in struct {
		Containers []struct {
			Name   string `json:"name"`
			Amount *int   `json:"amount"`
			Size   string `json:"size"`
		} `json:"containers"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if len(in.Containers) == 0 {
		return nil, badRequest(`the body must be {"containers": [{"name": "web", "amount": 2}, ...]}`)
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var changes []platform.ProcessType
	for _, c := range in.Containers {
		if c.Amount == nil {
			return nil, platform.Invalid("amount", "must be given for %s", c.Name)
		}
		if seen[c.Name] {
			return nil, platform.Invalid("name", "process type %q is given twice", c.Name)
		}
		seen[c.Name] = true
		if err := checkScale(c.Name, *c.Amount, c.Size); err != nil {
			return nil, err
		}
		changes = append(changes, platform.ProcessType{AppID: app.ID, Name: c.Name, Amount: *c.Amount, Size: c.Size})
	}
	types, operation, err := a.Control.Scale(q.Context(), q.user, app.ID, changes)
	if err != nil {
		return nil, err
	}
	body := object{"containers": showFormation(types)}
	if operation == nil {
		return ok(body)
	}
	return accepted(q.operationURL(*operation), body)
}

func (a *API) restart(q *request) (response, error) {
	var in struct {
		Scope []string `json:"scope"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	operation, err := a.Control.Restart(q.Context(), q.user, app.ID, in.Scope)
	if err != nil {
		return nil, err
	}
	return accepted(q.operationURL(operation), object{"operation": showOperation(operation)})
}

func (a *API) showOperation(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	operation, err := a.Store.Operation(q.Context(), app.ID, q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	shown := showOperation(operation)
	if operation.Type == platform.OperationStartOneOff {
		o, err := a.Store.OneOffOfOperation(q.Context(), operation.ID)
		if err != nil {
			return nil, err
		}
		shown.StartOneOff = &startOneOffJSON{AttachURL: q.attachURL(o), ContainerID: o.ID}
	}
	return ok(object{"operation": shown})
}

// Private

func (q *request) operationURL(o platform.Operation) string {
	return q.base() + "/v1/apps/" + o.AppID + "/operations/" + o.ID
}

// checkScale checks what can be told without the app and the operator's limit.
func checkScale(name string, amount int, size string) error {
	if err := platform.ValidateProcessType(name); err != nil {
		return err
	}
	if amount < 0 || amount > platform.MaxMembers {
		return platform.Invalid("amount", "of %s must be 0 to %d (got %d)", name, platform.MaxMembers, amount)
	}
	if size == "" { // keep the one it has
		return nil
	}
	_, err := platform.SizeByName(size)
	return err
}
