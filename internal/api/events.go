package api

import (
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// eventJSON is a line of a timeline.
type eventJSON struct {
	ID          string         `json:"id"`
	Type        string         `json:"type"`
	AppID       string         `json:"app_id"`
	AppName     string         `json:"app_name"`
	ProjectID   string         `json:"project_id"`
	ProjectName string         `json:"project_name"`
	User        userJSON       `json:"user"`
	TypeData    map[string]any `json:"type_data"`
	CreatedAt   *time.Time     `json:"created_at"`
}

// Sizes of a page of events.
const (
	eventsPerPage    = 30
	maxEventsPerPage = 100
)

func (a *API) appEvents(q *request) (response, error) {
	page, err := q.page(eventsPerPage, maxEventsPerPage)
	if err != nil {
		return nil, err
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	events, total, err := a.Store.AppEvents(q.Context(), app.ID, page)
	if err != nil {
		return nil, err
	}
	list, err := q.showEvents(events)
	if err != nil {
		return nil, err
	}
	return ok(paged("events", list, page, total))
}

func (a *API) userEvents(q *request) (response, error) {
	page, err := q.page(eventsPerPage, maxEventsPerPage)
	if err != nil {
		return nil, err
	}
	events, total, err := a.Store.UserEvents(q.Context(), q.user.ID, page)
	if err != nil {
		return nil, err
	}
	list, err := q.showEvents(events)
	if err != nil {
		return nil, err
	}
	return ok(paged("events", list, page, total))
}

// Private

func (q *request) showEvents(events []platform.Event) ([]eventJSON, error) {
	list := make([]eventJSON, 0, len(events))
	for _, e := range events {
		user, err := q.person(e.UserID)
		if err != nil {
			return nil, err
		}
		if e.Data == nil {
			e.Data = map[string]any{}
		}
		list = append(list, eventJSON{ID: e.ID, Type: e.Type, AppID: e.AppID, AppName: e.AppName, ProjectID: e.ProjectID,
			ProjectName: e.ProjectName, User: showUser(user), TypeData: e.Data, CreatedAt: date(e.CreatedAt)})
	}
	return list, nil
}
