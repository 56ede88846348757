package platform

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Code classifies an Error; the API maps each to one HTTP status.
type Code string

// The codes an Error can have.
const (
	// CodeInvalid: the request breaks a rule; Fields says which (422).
	CodeInvalid Code = "invalid"
	// CodeNotFound: what was named does not exist for this user (404).
	CodeNotFound Code = "not_found"
	// CodeConflict: the present state does not allow it (409).
	CodeConflict Code = "conflict"
	// CodeUnauthorized: no or wrong credentials (401).
	CodeUnauthorized Code = "unauthorized"
	// CodeForbidden: known user, not allowed (403).
	CodeForbidden Code = "forbidden"
	// CodeBadRequest: the request cannot be read at all (400).
	CodeBadRequest Code = "bad_request"
	// CodeUnavailable: it was accepted, or would be, but a part of the machine
	// does not do its work at present (503).
	CodeUnavailable Code = "unavailable"
)

// Error is an error whose text may be shown to the user. Any other error is
// internal: it is logged and the user sees a fixed text.
type Error struct {
	Code Code
	// Message says what was wrong and what to do, in one or two sentences.
	Message string
	// Resource names what was not found ("app", "container_type"), for
	// CodeNotFound.
	Resource string
	// Fields maps a field to what is wrong with it, for CodeInvalid.
	Fields map[string][]string
}

// Error returns the message, with the fields in alphabetical order.
func (e *Error) Error() string {
	if len(e.Fields) == 0 {
		return e.Message
	}
	names := make([]string, 0, len(e.Fields))
	for f := range e.Fields {
		names = append(names, f)
	}
	sort.Strings(names)
	parts := make([]string, 0, len(names))
	for _, f := range names {
		parts = append(parts, f+" "+strings.Join(e.Fields[f], ", "))
	}
	text := strings.Join(parts, "; ")
	if e.Message != "" {
		return e.Message + ": " + text
	}
	return text
}

// NotFound returns the error for a resource that does not exist (or that
// this user may not see).
func NotFound(resource, format string, args ...any) *Error {
	return &Error{Code: CodeNotFound, Resource: resource, Message: fmt.Sprintf(format, args...)}
}

// Invalid returns the error for one wrong field.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Fields: map[string][]string{field: {fmt.Sprintf(format, args...)}}}
}

// Conflict returns the error for a request that the present state forbids.
func Conflict(format string, args ...any) *Error {
	return &Error{Code: CodeConflict, Message: fmt.Sprintf(format, args...)}
}

// Unavailable returns the error for a part of the machine that does not do its
// work at present.
func Unavailable(format string, args ...any) *Error {
	return &Error{Code: CodeUnavailable, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of err, or "" when err is not an *Error.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
