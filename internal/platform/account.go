package platform

import (
	"regexp"
	"time"
)

// User owns projects and apps.
type User struct {
	ID        string
	Username  string
	Email     string
	Fullname  string
	Admin     bool
	CreatedAt time.Time
}

// Variable is an environment variable of an app.
type Variable struct {
	ID    string
	AppID string
	Name  string
	Value string
}

// Limits of variables (EV-9, EV-10; of two documented lengths the larger).
const (
	MaxVariableName  = 64
	MaxVariableValue = 32768
)

var variableName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_]{0,63}$`)

// ValidateVariable checks rules EV-9 and EV-10.
func ValidateVariable(name, value string) error {
	if !variableName.MatchString(name) {
		return Invalid("name", "variable %q: use up to 64 letters, digits and underscores, not starting with an underscore", name)
	}
	if len(value) > MaxVariableValue {
		return Invalid("value", "variable %s: the value has %d bytes, at most %d are allowed", name, len(value), MaxVariableValue)
	}
	return nil
}

// ResolveAliases replaces each value of the form $OTHER by the value of
// OTHER (EV-11), once: an alias of an alias stays as written.
func ResolveAliases(vars map[string]string) map[string]string {
	out := make(map[string]string, len(vars))
	for name, value := range vars {
		out[name] = value
		if len(value) > 1 && value[0] == '$' {
			if target, ok := vars[value[1:]]; ok {
				out[name] = target
			}
		}
	}
	return out
}

// OperationStatus is a state of an operation (FS-8).
type OperationStatus string

// The states of an operation.
const (
	OperationPending OperationStatus = "pending"
	OperationRunning OperationStatus = "running"
	OperationDone    OperationStatus = "done"
	OperationError   OperationStatus = "error"
)

// OperationStartOneOff is the type of the operation that starts a one-off.
const OperationStartOneOff = "start-one-off"

// Operation is asynchronous work on an app that a client may wait for.
type Operation struct {
	ID    string
	AppID string
	// Type is "scale", "restart" or OperationStartOneOff.
	Type       string
	Status     OperationStatus
	Error      string
	CreatedAt  time.Time
	FinishedAt time.Time
}

// Event is a line of an app's or a user's timeline (EVT-2). It is written in
// the transaction of the change it tells of.
type Event struct {
	ID string
	// Type is the API's name of it ("new_app", "scale", "deployment", ...).
	Type        string
	UserID      string
	ProjectID   string
	ProjectName string
	AppID       string
	AppName     string
	// Data is the type's own data (spec api.md section 6.10).
	Data      map[string]any
	CreatedAt time.Time
}
