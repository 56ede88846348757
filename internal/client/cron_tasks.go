package client

import (
	"context"
	"time"
)

// CronTask is a scheduled task of an app.
type CronTask struct {
	// Command has the schedule, five fields, in front.
	Command string `json:"command"`
	Size    string `json:"size"`
	// LastRun is zero when it never ran.
	LastRun time.Time `json:"last_execution_date,omitzero"`
	NextRun time.Time `json:"next_execution_date,omitzero"`
}

// CronTasks lists the scheduled tasks of an app.
func (c *Client) CronTasks(ctx context.Context, app string) ([]CronTask, error) {
	var answer struct {
		Jobs []CronTask `json:"jobs"`
	}
	_, err := c.do(ctx, request{method: "GET", path: "/apps/" + segment(app) + "/cron_tasks", want: []int{200}, doing: "cannot list the scheduled tasks"}, &answer)
	return answer.Jobs, err
}
