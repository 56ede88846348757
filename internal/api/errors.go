package api

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// statusOf maps the codes of the domain's errors to HTTP statuses; what is
// not in it is an internal error.
var statusOf = map[platform.Code]int{
	platform.CodeBadRequest:   http.StatusBadRequest,
	platform.CodeUnauthorized: http.StatusUnauthorized,
	platform.CodeForbidden:    http.StatusForbidden,
	platform.CodeNotFound:     http.StatusNotFound,
	platform.CodeConflict:     http.StatusConflict,
	platform.CodeInvalid:      http.StatusUnprocessableEntity,
	platform.CodeUnavailable:  http.StatusServiceUnavailable,
}

// httpError is an error that only exists in HTTP.
type httpError struct {
	status  int
	message string
}

func (e *httpError) Error() string { return e.message }

// tooMany refuses a client for a while.
type tooMany struct{ wait time.Duration }

func (e *tooMany) Error() string {
	return fmt.Sprintf("too many failed logins; try again in %d seconds", e.seconds())
}

func (e *tooMany) seconds() int { return int(math.Ceil(e.wait.Seconds())) }

func badRequest(format string, args ...any) error {
	return &platform.Error{Code: platform.CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}

func unauthorized(format string, args ...any) error {
	return &platform.Error{Code: platform.CodeUnauthorized, Message: fmt.Sprintf(format, args...)}
}

// noSuchPath has no resource: clients then show the text.
func noSuchPath(r *http.Request) error {
	return platform.NotFound("", "this server has nothing at %s", r.URL.Path)
}

// fail answers with an error, in the shapes clients read (one per status).
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, body := a.describe(w, r, err)
	writeJSON(w, r, status, body)
}

// Private

func (a *API) describe(w http.ResponseWriter, r *http.Request, err error) (int, any) {
	var limit *tooMany
	if errors.As(err, &limit) {
		w.Header().Set("Retry-After", strconv.Itoa(limit.seconds()))
		return http.StatusTooManyRequests, map[string]string{"error": limit.Error(), "code": "too_many_requests"}
	}
	var h *httpError
	if errors.As(err, &h) {
		return h.status, map[string]string{"error": h.message}
	}
	var e *platform.Error
	if !errors.As(err, &e) || statusOf[e.Code] == 0 {
		return a.internal(w, r, err)
	}
	switch e.Code {
	case platform.CodeNotFound:
		return http.StatusNotFound, map[string]string{"resource": e.Resource, "error": e.Message}
	case platform.CodeInvalid:
		return http.StatusUnprocessableEntity, map[string]any{"errors": fieldsOf(e)}
	case platform.CodeUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="atoll"`)
	}
	return statusOf[e.Code], map[string]string{"error": e.Message, "code": string(e.Code)}
}

// fieldsOf never returns an empty map: clients take that for a broken answer.
func fieldsOf(e *platform.Error) map[string][]string {
	if len(e.Fields) > 0 {
		return e.Fields
	}
	return map[string][]string{"base": {e.Message}}
}

func (a *API) internal(w http.ResponseWriter, r *http.Request, err error) (int, any) {
	id := w.Header().Get(requestIDHeader)
	if r.Context().Err() != nil {
		a.Log.Debug("Request was given up by its client", "request", id, "error", err)
	} else {
		a.Log.Error("Request failed", "request", id, slog.String("method", r.Method), slog.String("path", r.URL.Path), "error", err)
	}
	return http.StatusInternalServerError, map[string]string{
		"error": "internal error; the server's log says more under request " + id, "code": "internal"}
}
