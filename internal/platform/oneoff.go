package platform

import (
	"strings"
	"time"
)

// OneOff is a container that is run once: by a user (KindOneOff), as a
// deployment's hook (KindPostdeploy) or as a scheduled task (KindCron).
type OneOff struct {
	// ID is also the id of its container and of its workload.
	ID    string
	AppID string
	Kind  Kind
	// Number counts the app's containers of the kind from 1 and never comes
	// back, so that a label names one run in the logs; a hook is always 1.
	Number  int
	Command string
	Size    string
	// Env is set over the app's variables.
	Env map[string]string
	// UserID is who asked for it; "" for hooks and tasks.
	UserID string
	// ReleaseID is what it runs; "" while it waits.
	ReleaseID string
	// OperationID is the operation that starts it, "" when there is none.
	OperationID string
	// Detached ones write to the app's log, attached ones to whoever
	// connects.
	Detached bool
	// Task is the id of the scheduled task, for KindCron.
	Task  string
	State OneOffState
	// ExitCode is that of its process; meaningless before the end.
	ExitCode int
	// Error says why it did not start, or why it ended when that was not its
	// own doing; for the user.
	Error string
	// TimedOut: it was ended because it ran, or was silent, for too long.
	TimedOut bool
	// Deadline is when it is stopped; zero: never.
	Deadline   time.Time
	CreatedAt  time.Time
	FinishedAt time.Time
}

// OneOffState is where a one-off is in its life.
type OneOffState string

// The states of a one-off.
const (
	// OneOffWaiting: an attached one to which nobody has connected yet.
	OneOffWaiting OneOffState = "waiting"
	// OneOffRunning: its container is being started, runs, or is stopped.
	OneOffRunning OneOffState = "running"
	// OneOffEnded: it is over.
	OneOffEnded OneOffState = "ended"
)

// Limits of one-offs (OO-2, OO-3, OO-5, PD-3; of two documented idle limits
// the one the API reference gives).
const (
	MaxOneOffsPerApp  = 10
	MaxOneOffsPerUser = 50
	// OneOffIdle is how long an attached one may be silent.
	OneOffIdle = 30 * time.Minute
	// OneOffWait is how long an attached one waits for its client.
	OneOffWait = 5 * time.Minute
	// MaxUpload is the most bytes of an uploaded file, MaxUploads the most
	// files of one one-off.
	MaxUpload  = 100 << 20
	MaxUploads = 20
	// MaxCommand is the longest command, in bytes.
	MaxCommand = 16 << 10
	// HookLimit is how long a deployment's hook may run.
	HookLimit = 20 * time.Minute
	// UploadDir is where uploaded files are in the container.
	UploadDir = "/tmp/uploads"
)

// Label is how people see its container: "one-off-3".
func (o OneOff) Label() string { return ContainerLabel(o.Kind.label(), o.Number) }

// ValidateOneOff checks what a user asks for.
func ValidateOneOff(o OneOff) error {
	switch {
	case strings.TrimSpace(o.Command) == "":
		return Invalid("command", "must not be empty: say what to run, as in \"bin/migrate --all\"")
	case len(o.Command) > MaxCommand:
		return Invalid("command", "has %d bytes, at most %d are allowed: put it into a script of the app", len(o.Command), MaxCommand)
	case strings.ContainsRune(o.Command, 0):
		return Invalid("command", "must not contain a zero byte")
	}
	if _, err := SizeByName(o.Size); err != nil {
		return err
	}
	for name, value := range o.Env {
		if err := ValidateVariable(name, value); err != nil {
			return err
		}
	}
	return nil
}

// label is the part of a container's name in front of its app, for kinds
// that run once; it is also their process type.
func (k Kind) label() string {
	switch k {
	case KindPostdeploy:
		return TypePostdeploy
	case KindCron:
		return TypeCron
	default:
		return TypeOneOff
	}
}

// Type is the process type of its container.
func (o OneOff) Type() string { return o.Kind.label() }
