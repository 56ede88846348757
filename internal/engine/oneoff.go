package engine

import (
	"context"
	"errors"
	"io"

	"github.com/atollhq/atoll/internal/platform"
)

// OneOffs runs containers once, as members of their network: one-offs,
// deployment hooks, scheduled tasks. Each has a row in the Sink from Start to
// Remove.
type OneOffs interface {
	// Start runs the one container of o.Workload once. It returns when the
	// wish is taken; a process that ended is never started again, whatever
	// happens in between. When it is over the row is InstanceEnded, with
	// LastExit (and Reason, when that was not the process's own doing), or
	// InstanceFailed when there never was a process; it stays so over
	// restarts until Engine.Remove. An id that is there already is an error.
	Start(ctx context.Context, o OneOff) error

	// Stop ends it (SIGTERM, the grace, SIGKILL), as any other end: the row
	// stays, with the exit code. It returns when the wish is recorded. Both
	// an unknown id and one that has ended are no error.
	Stop(ctx context.Context, workloadID string) error

	// Resize sets the size of the terminal of an attached container, in
	// characters. ErrNoInstance when it does not run or has no terminal.
	Resize(ctx context.Context, instanceID string, width, height int) error
}

// OneOff is a container that is run once.
type OneOff struct {
	// Workload has exactly one number; its container gets the workload's id
	// as its own.
	Workload platform.Workload
	// Mounts are folders of the node shown inside.
	Mounts []Mount
	// Attached connects the process to somebody who waits, instead of to the
	// log. Such a container depends on this process: should it die, then the
	// next one ends the container.
	Attached *Attachment
}

// Attachment is where an attached container reads from and writes to.
type Attachment struct {
	// Input may be nil: then there is nothing to read. Its end closes the
	// process's standard input, unless that is a terminal (there, people
	// type Ctrl-D). Start reads from it until it ends or fails.
	Input io.Reader
	// Output gets stdout and stderr, from one goroutine at a time. The row
	// is InstanceEnded only after all of it was written.
	Output io.Writer
	// Terminal gives the process a terminal, of Width times Height
	// characters (0 means 80 and 24).
	Terminal      bool
	Width, Height int
}

// ErrExists: there is a container with that id already.
var ErrExists = errors.New("there is such a container already")
