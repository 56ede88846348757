package engine

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// Engine holds workloads and runs jobs. Its methods are safe for concurrent
// use.
type Engine interface {
	// Apply makes the engine hold exactly the containers of w: Numbers that
	// have none are created, containers with other numbers are drained and
	// stopped, Active and Group are taken over. Containers that run already
	// are left alone, whatever else differs. It returns when the wish is recorded;
	// progress and failures show in the Sink. A workload without numbers is
	// the same as Remove.
	Apply(ctx context.Context, w platform.Workload) error

	// Remove drains and stops all containers of the workload. It returns
	// when the wish is recorded. An unknown id is no error.
	Remove(ctx context.Context, workloadID string) error

	// Workloads returns the ids of the workloads that have containers, so
	// that the caller can remove the ones nobody wants any more.
	Workloads(ctx context.Context) ([]string, error)

	// Signal sends a signal to the first process of an instance.
	// ErrNoInstance when it does not run.
	Signal(ctx context.Context, instanceID string, sig syscall.Signal) error

	// Run runs one container to its end and returns its exit code (128+n
	// when signal n ended it). It is killed when ctx ends; then the error is
	// ctx's cause. A job that was running when this process died is removed
	// at the next start.
	Run(ctx context.Context, j Job) (exitCode int, err error)

	// Close releases what the process holds. Containers go on.
	Close() error
}

// Sink takes what an engine reports: the roster.
type Sink interface {
	Put(platform.Instance)
	Delete(instanceID string)
	// Get returns the row with its observation; engines use it to learn
	// whether an instance listens, hence has to be drained.
	Get(instanceID string) (platform.Instance, bool)
}

// Images is the engine's store of images.
type Images interface {
	// ImportLayout takes the image named ref from an OCI image layout folder
	// and unpacks it. Layers it has already are not copied again.
	ImportLayout(ctx context.Context, dir, ref string) error
	// HasImage reports whether ref can be run.
	HasImage(ctx context.Context, ref string) (bool, error)
	// DeleteImage forgets ref; an unknown one is no error. Containers made
	// from it go on.
	DeleteImage(ctx context.Context, ref string) error
}

// Job is a container that is run once, outside of every private network:
// builds.
type Job struct {
	// ID names it, unique among jobs; a UUID.
	ID    string
	Image string
	// Args is the process and its arguments, run in Dir as the image's user.
	Args []string
	Dir  string
	Env  map[string]string
	// Mounts are folders of the node shown inside.
	Mounts []Mount
	// Memory in bytes, PIDs; 0 means the limits of size M.
	Memory int64
	PIDs   int64
	// Outside gives it eth0; without it there is no network at all.
	Outside bool
	// Output gets stdout and stderr as they come, from one goroutine at a
	// time.
	Output io.Writer
}

// Mount shows a folder of the node inside a container.
type Mount struct {
	Source   string
	Target   string
	ReadOnly bool
}

// ErrNoInstance: there is no running instance with that id.
var ErrNoInstance = errors.New("no such running container")

// RestartDelay returns how long to wait before start attempt n+1 of a
// container whose process ended n times in a row (architecture, decision
// 16), without jitter.
func RestartDelay(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	const limit = 60 * time.Second
	if n >= 8 {
		return limit
	}
	return min(limit, time.Second<<(n-2))
}
