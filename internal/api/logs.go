package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/api/auth"
	"github.com/atollhq/atoll/internal/platform"
)

// logsLife is how long the URL of an app's logs is good. A stream that is
// open goes on.
const logsLife = time.Hour

// Lines of a dump.
const (
	defaultLines = 100
	maxLines     = 10000
)

// logJSON is an event of a log stream. The documentation of the original
// calls the kind "name", its command line reads "event".
type logJSON struct {
	Event     string     `json:"event"`
	Name      string     `json:"name"`
	Log       string     `json:"log,omitempty"`
	Timestamp *time.Time `json:"timestamp,omitempty"`
}

func (a *API) logsURL(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	project, err := a.Store.ProjectByID(q.Context(), app.ProjectID)
	if err != nil {
		return nil, err
	}
	shown, err := q.showApp(app, project)
	if err != nil {
		return nil, err
	}
	token, err := a.tokens.Sign(auth.Logs, q.user.ID, app.ID, logsLife)
	if err != nil {
		return nil, err
	}
	// Clients glue "&stream=true" to it, so it must have a query.
	return ok(object{"logs_url": q.base() + "/v1/logs/" + app.ID + "?token=" + url.QueryEscape(token), "app": shown})
}

// logs answers at the logs_url: the last lines, or with stream=true what
// comes, over a web socket or as server-sent events.
func (a *API) logs(q *request) (response, error) {
	query := q.URL.Query()
	app, err := a.Store.App(q.Context(), q.user.ID, q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	filter := query.Get("filter")
	if query.Get("stream") == "true" {
		return a.followLogs(q, app, filter)
	}
	n := defaultLines
	if text := query.Get("n"); text != "" {
		if n, err = strconv.Atoi(text); err != nil || n < 0 || n > maxLines {
			return nil, platform.Invalid("n", "must be a number of lines from 0 to %d (got %q)", maxLines, text)
		}
	}
	if n == 0 {
		return noContent()
	}
	lines, err := a.Logs.Tail(q.Context(), app.ID, n, filter)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return noContent()
	}
	return text(io.NopCloser(bytes.NewReader(lines)))
}

// Private

func (a *API) followLogs(q *request, app platform.App, filter string) (response, error) {
	if isUpgrade(q.Request) {
		return func(w http.ResponseWriter, r *http.Request) { a.socketLogs(w, r, app, filter) }, nil
	}
	return func(w http.ResponseWriter, r *http.Request) { a.eventLogs(w, r, app, filter) }, nil
}

func (a *API) socketLogs(w http.ResponseWriter, r *http.Request, app platform.App, filter string) {
	s, err := a.accept(w, r)
	if err != nil {
		a.Log.Debug("Log stream was not opened", "error", err)
		return
	}
	defer s.end()
	s.begin(a.PingEvery, logPing())
	err = a.Logs.Follow(s.ctx, app.ID, filter, func(lines []byte) error { return s.send(a.logEvent(lines)) })
	a.Log.Debug("Log stream ended", "app", app.Name, "cause", err)
}

// eventLogs streams server-sent events (WHATWG HTML, section 9.2).
func (a *API) eventLogs(w http.ResponseWriter, r *http.Request, app platform.App, filter string) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.ctx, cancel)()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	var mu sync.Mutex
	send := func(e logJSON) error {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		_ = rc.SetWriteDeadline(time.Now().Add(sendTimeout)) // not every writer has deadlines
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.Event, b); err != nil {
			return err
		}
		return rc.Flush()
	}
	// One at once: it tells the client, and proxies, that the stream is open.
	if send(logPing()) != nil {
		return
	}
	var pings sync.WaitGroup
	pings.Go(func() {
		ticker := time.NewTicker(a.PingEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if send(logPing()) != nil {
					cancel()
				}
			}
		}
	})
	err := a.Logs.Follow(ctx, app.ID, filter, func(lines []byte) error { return send(a.logEvent(lines)) })
	cancel()
	pings.Wait() // nobody may write after the handler
	a.Log.Debug("Log stream ended", "app", app.Name, "cause", err)
}

func logPing() logJSON { return logJSON{Event: "ping", Name: "ping"} }

func (a *API) logEvent(lines []byte) logJSON {
	now := a.Now()
	return logJSON{Event: "log", Name: "log", Log: string(lines), Timestamp: date(now)}
}
