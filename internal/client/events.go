package client

import (
	"context"
	"time"
)

// Event is a line of the timeline of an app or of the account.
type Event struct {
	ID          string         `json:"id"`
	Type        string         `json:"type"`
	CreatedAt   time.Time      `json:"created_at,omitzero"`
	User        User           `json:"user"`
	AppID       string         `json:"app_id,omitempty"`
	AppName     string         `json:"app_name,omitempty"`
	ProjectID   string         `json:"project_id,omitempty"`
	ProjectName string         `json:"project_name,omitempty"`
	Data        map[string]any `json:"type_data,omitempty"`
}

// Events lists a page of the events of an app, newest first; with app "" of
// everything the user owns.
func (c *Client) Events(ctx context.Context, app string, page Page) ([]Event, Pagination, error) {
	path := "/events"
	if app != "" {
		path = "/apps/" + segment(app) + "/events"
	}
	var answer struct {
		Events []Event `json:"events"`
		paged
	}
	_, err := c.do(ctx, request{method: "GET", path: path, query: page.query(), want: []int{200}, doing: "cannot list the events"}, &answer)
	return answer.Events, answer.Meta.Pagination, err
}
