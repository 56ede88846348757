package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"time"
)

// Operation is asynchronous work on an app.
type Operation struct {
	ID string `json:"id"`
	// Type is "scale", "restart" or "start-one-off".
	Type string `json:"type"`
	// Status is pending, running, done or error.
	Status     string    `json:"status"`
	Error      string    `json:"error,omitempty"`
	CreatedAt  time.Time `json:"created_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	// StartOneOff is there for the type "start-one-off".
	StartOneOff *StartOneOff `json:"start_one_off_data,omitempty"`
}

// Over reports whether the operation has ended, well or not.
func (o Operation) Over() bool { return o.Status == "done" || o.Status == "error" }

// Operation returns one operation of an app.
func (c *Client) Operation(ctx context.Context, app, id string) (Operation, error) {
	var answer struct {
		Operation Operation `json:"operation"`
	}
	_, err := c.do(ctx, request{method: "GET", path: "/apps/" + segment(app) + "/operations/" + segment(id), want: []int{200}, doing: "cannot ask for the operation"}, &answer)
	return answer.Operation, err
}

// WaitOperation asks for an operation until it is over and returns it; one
// that failed is no error of WaitOperation. A server that is away for less
// than Config.GiveUp (a restart) is waited for.
func (c *Client) WaitOperation(ctx context.Context, app, id string) (Operation, error) {
	var silentSince time.Time
	for {
		op, err := c.Operation(ctx, app, id)
		switch {
		case err == nil && op.Over():
			return op, nil
		case err == nil:
			silentSince = time.Time{}
		case !passing(err):
			return Operation{}, err
		case silentSince.IsZero():
			silentSince = time.Now()
		case time.Since(silentSince) > c.cfg.GiveUp:
			return Operation{}, fmt.Errorf("gave up waiting for the operation, which may go on: %w", err)
		}
		if err := pause(ctx, c.cfg.PollInterval/3); err != nil {
			return Operation{}, err
		}
	}
}

// passing reports whether an error may go away by itself: no answer, or a
// server in trouble.
func passing(err error) bool {
	switch status := StatusOf(err); {
	case status == 0, status == http.StatusTooManyRequests, status >= 500:
		return true
	}
	return false
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// operationID is the last segment of the Location header, "" without one.
func operationID(header http.Header) string {
	location, err := url.Parse(header.Get("Location"))
	if err != nil || location.Path == "" {
		return ""
	}
	return path.Base(location.Path)
}
