package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sort"
	"strings"
)

// Error is an answer of the server that is not a success.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the server's short code, mostly empty.
	Code string
	// Message is the server's text; empty when it sent none.
	Message string
	// Resource names what was not found ("app", "container_type"); with 404.
	Resource string
	// Fields maps each refused field to what is wrong with it; with 422.
	Fields map[string][]string
}

// Error says what the server said, in one line without the status when the
// text stands for itself.
func (e *Error) Error() string {
	if len(e.Fields) > 0 {
		return e.fieldText()
	}
	if e.Message != "" {
		return e.Message
	}
	switch {
	case e.Status == http.StatusUnauthorized:
		return "the server does not accept the credentials"
	case e.Status == http.StatusNotFound && e.Resource != "":
		return fmt.Sprintf("the %s was not found", strings.ReplaceAll(e.Resource, "_", " "))
	case e.Status == http.StatusTooManyRequests:
		return "too many requests; wait a minute and try again"
	case e.Status >= 500:
		return fmt.Sprintf("the server failed (%d %s); its log says why", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("the server answered %d %s", e.Status, http.StatusText(e.Status))
}

func (e *Error) fieldText() string {
	names := make([]string, 0, len(e.Fields))
	for name := range e.Fields {
		names = append(names, name)
	}
	sort.Strings(names)
	parts := make([]string, 0, len(names))
	for _, name := range names {
		parts = append(parts, name+" "+strings.Join(e.Fields[name], ", "))
	}
	return strings.Join(parts, "; ")
}

// StatusOf returns the HTTP status of an *Error in err's chain, else 0.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// UnreachableError says that there was no answer at all.
type UnreachableError struct {
	// URL is the base URL that was tried.
	URL string
	Err error
}

// Error names the server and the cause.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach the server at %s: %v", e.URL, e.Err)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// unreachable wraps the error of a request that got no answer. The end of the
// caller's own context stays what it is.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout()) {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	return &UnreachableError{URL: c.base.String(), Err: err}
}

// errorOf makes the error of an answer with an unexpected status.
func (c *Client) errorOf(req *http.Request, resp *http.Response, body []byte) error {
	e := &Error{Status: resp.StatusCode}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		e.Message = fmt.Sprintf("the server at %s redirects to %s: use that address as the server URL", c.base, resp.Header.Get("Location"))
		return e
	}
	var answer struct {
		Error    string              `json:"error"`
		Code     string              `json:"code"`
		Resource string              `json:"resource"`
		Errors   map[string][]string `json:"errors"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		// Proxies answer 5xx with pages of their own: the status says enough.
		if resp.StatusCode < 500 {
			return c.notOurs(req, resp.StatusCode)
		}
		return e
	}
	if resp.StatusCode < 300 {
		e.Message = fmt.Sprintf("the server answered %s %s with the unexpected status %d: is it of another version?", req.Method, req.URL.Path, resp.StatusCode)
		return e
	}
	e.Message, e.Code, e.Resource, e.Fields = answer.Error, answer.Code, answer.Resource, answer.Errors
	return e
}

// notOurs is the error of an answer that is no JSON.
func (c *Client) notOurs(req *http.Request, status int) error {
	return &Error{Status: status, Message: fmt.Sprintf(
		"the server at %s answered %s %s with %d and no JSON: check that the URL is that of an Atoll API",
		c.base, req.Method, req.URL.Path, status)}
}
