package api

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// handler answers a request, or returns an error that fail turns into one.
type handler func(q *request) (response, error)

// response writes an answer.
type response func(w http.ResponseWriter, r *http.Request)

// object is the root of an answer: one key, usually.
type object map[string]any

func ok(body any) (response, error) { return answer(http.StatusOK, body), nil }

func created(body any) (response, error) { return answer(http.StatusCreated, body), nil }

// accepted answers 202 with the URL of the operation to wait for.
func accepted(location string, body any) (response, error) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", location)
		writeJSON(w, r, http.StatusAccepted, body)
	}, nil
}

func noContent() (response, error) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, nil
}

// text answers with plain text and closes it.
func text(from io.ReadCloser) (response, error) {
	return func(w http.ResponseWriter, r *http.Request) {
		defer from.Close()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if r.Method == http.MethodHead {
			return
		}
		if _, err := io.Copy(w, from); err != nil {
			slog.Debug("Answer was cut off", "path", r.URL.Path, "error", err)
		}
	}, nil
}

// date is how a time is shown: RFC 3339, or null for the zero time.
func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Private

func answer(status int, body any) response {
	return func(w http.ResponseWriter, r *http.Request) { writeJSON(w, r, status, body) }
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, body any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		slog.Error("Answer cannot be encoded", "path", r.URL.Path, "error", err)
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error":"internal error","code":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	w.Write(b.Bytes()) //nolint:errcheck // the client is gone
}
