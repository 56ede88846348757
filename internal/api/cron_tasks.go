package api

import (
	"time"

	"github.com/atollhq/atoll/internal/cronfile"
)

// jobJSON is a scheduled task. A null date means never.
type jobJSON struct {
	// Command has the schedule in front, as in cron.json.
	Command       string     `json:"command"`
	Size          string     `json:"size"`
	LastExecution *time.Time `json:"last_execution_date"`
	NextExecution *time.Time `json:"next_execution_date"`
}

// cronTasks lists the scheduled tasks of an app's present version.
func (a *API) cronTasks(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	jobs, err := a.Store.Jobs(q.Context(), app.ID)
	if err != nil {
		return nil, err
	}
	list := []jobJSON{}
	for _, j := range jobs {
		next, err := cronfile.Next(j.Schedule, a.Now())
		if err != nil {
			return nil, err
		}
		list = append(list, jobJSON{Command: j.Schedule + " " + j.Command, Size: j.Size, LastExecution: date(j.LastRun), NextExecution: date(next)})
	}
	return ok(object{"jobs": list})
}
