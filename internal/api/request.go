package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// maxBody is the most bytes of a JSON body; the largest are lists of
// variables.
const maxBody = 4 << 20

// bodyTimeout is how long a JSON body may take to arrive.
const bodyTimeout = 30 * time.Second

// request is an HTTP request and what access found out about it.
type request struct {
	*http.Request
	api *API
	w   http.ResponseWriter
	// user is who asks; zero where anyone may.
	user platform.User
	// people caches users by id, for the lists that show many.
	people map[string]platform.User
}

// app finds the app named in the path, of the user who asks.
func (q *request) app() (platform.App, error) {
	return q.api.Store.App(q.Context(), q.user.ID, q.PathValue("app"))
}

// person finds a user for display. One who is gone shows with the id only.
func (q *request) person(id string) (platform.User, error) {
	if id == q.user.ID {
		return q.user, nil
	}
	if u, ok := q.people[id]; ok {
		return u, nil
	}
	u, err := q.api.Store.UserByID(q.Context(), id)
	if platform.CodeOf(err) == platform.CodeNotFound {
		u, err = platform.User{ID: id}, nil
	}
	if err != nil {
		return u, err
	}
	if q.people == nil {
		q.people = map[string]platform.User{}
	}
	q.people[id] = u
	return u, nil
}

// decode reads the JSON object of the body into v. An empty body is an empty
// object; keys that v does not have are ignored, as clients send more than
// the server needs.
func (q *request) decode(v any) error {
	rc := http.NewResponseController(q.w)
	if rc.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
		defer rc.SetReadDeadline(time.Time{}) //nolint:errcheck // it worked a moment ago
	}
	raw, err := io.ReadAll(http.MaxBytesReader(q.w, q.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &httpError{status: http.StatusRequestEntityTooLarge, message: fmt.Sprintf("the body is larger than %d bytes", large.Limit)}
	}
	if err != nil {
		return badRequest("the body did not arrive whole")
	}
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return badRequest("the body must be a JSON object: %s", jsonProblem(err))
	}
	return nil
}

// base is the URL of this API as the client knows it.
func (q *request) base() string {
	if q.api.URL != "" {
		return q.api.URL
	}
	scheme, host := "http", q.Host
	if q.TLS != nil {
		scheme = "https"
	}
	if host == "" { // HTTP/1.0
		if addr, ok := q.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			host = addr.String()
		}
	}
	return scheme + "://" + host
}

// socketBase is base for web sockets.
func (q *request) socketBase() string {
	return "ws" + q.base()[len("http"):]
}

// page reads page and per_page.
func (q *request) page(perPage, most int) (store.Page, error) {
	p := store.Page{Number: 1, PerPage: perPage}
	for _, f := range []struct {
		name string
		to   *int
		most int
	}{{"page", &p.Number, 1 << 30}, {"per_page", &p.PerPage, most}} {
		text := q.URL.Query().Get(f.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > f.most {
			return p, platform.Invalid(f.name, "must be a number from 1 to %d (got %q)", f.most, text)
		}
		*f.to = n
	}
	return p, nil
}

// address is who is counted for failed logins: the peer, for IPv6 its /64
// (one customer has them all).
func (q *request) address() string {
	ap, err := netip.ParseAddrPort(q.RemoteAddr)
	if err != nil {
		return q.RemoteAddr
	}
	addr := ap.Addr().Unmap()
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

// Private

func jsonProblem(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Sprintf("%q must be a %s, not a %s", kind.Field, kind.Type, kind.Value)
	case errors.As(err, &kind):
		return "found " + kind.Value
	case errors.As(err, &syntax):
		return fmt.Sprintf("%s at byte %d", syntax, syntax.Offset)
	}
	return err.Error()
}
