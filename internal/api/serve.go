package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
)

// requestIDHeader names a request in answers and in the log.
const requestIDHeader = "X-Request-Id"

// ServeHTTP answers a request: an id for it, a line in the debug log after
// it, and a plain 500 should the handler panic.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := uuid.NewString()
	w.Header().Set(requestIDHeader, id)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	seen := &watched{ResponseWriter: w}
	defer func() {
		a.recovered(seen, r, recover())
		// The path only: queries have tokens in them.
		a.Log.Debug("Request", "request", id, "method", r.Method, "path", r.URL.Path,
			"status", seen.status, "duration", time.Since(start), "client", r.RemoteAddr)
	}()
	if r.Method == http.MethodConnect {
		a.connect(seen, r)
		return
	}
	// The mux would redirect these, which is no JSON.
	if p := r.URL.Path; path.Clean("/"+p) != strings.TrimSuffix(p, "/") && p != "/" {
		a.fail(seen, r, noSuchPath(r))
		return
	}
	a.mux.ServeHTTP(seen, r)
}

// health answers 200 as long as the store does.
func (a *API) health(q *request) (response, error) {
	if err := a.Store.Ping(q.Context()); err != nil {
		a.Log.Error("Store does not answer", "error", err)
		return nil, &httpError{status: http.StatusServiceUnavailable, message: "the store does not answer"}
	}
	return ok(object{"status": "ok"})
}

// Private

func (a *API) recovered(w *watched, r *http.Request, cause any) {
	switch {
	case cause == nil:
	case cause == http.ErrAbortHandler:
		panic(cause)
	case w.status != 0: // an answer has begun: only cutting it off tells the client
		a.logPanic(r, cause)
		panic(http.ErrAbortHandler)
	default:
		a.logPanic(r, cause)
		a.fail(w, r, fmt.Errorf("panic: %v", cause))
	}
}

func (a *API) logPanic(r *http.Request, cause any) {
	a.Log.Error("Handler panicked", slog.String("path", r.URL.Path), "cause", cause, "stack", string(debug.Stack()))
}

// watched remembers the status of an answer.
type watched struct {
	http.ResponseWriter
	status int
}

func (w *watched) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController and web sockets reach the connection.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }
