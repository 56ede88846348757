package containerd

import (
	"context"
	"net/netip"

	"github.com/atollhq/atoll/internal/platform"
)

// Network connects containers. The engine knows nothing of how.
type Network interface {
	// Setup makes the network namespace of a container with its interfaces
	// and returns when it is usable. While the sandbox exists a repeated call
	// returns the same one, with the Group that is asked for. The error's text
	// is shown to the user as the reason why the container cannot start; it is
	// a *NoRoomError when there is no room.
	Setup(ctx context.Context, r Request) (Sandbox, error)

	// Teardown removes what Setup made. An unknown id is no error.
	Teardown(ctx context.Context, instanceID string) error

	// Restore is called once, before any other method, with every sandbox
	// that containers of a former process still use: all others can be
	// removed. It returns the ids of those that do not exist any more, or could
	// not be taken over: others may get their addresses. When such a container
	// starts again, Setup makes it anew.
	Restore(ctx context.Context, members []Member) (lost []string, err error)
}

// Request says what a container is to be connected to.
type Request struct {
	InstanceID string
	// Network is the private network; it matters when Private is true.
	Network platform.PrivateNetwork
	Private bool
	// Group is the number by which policies know the container.
	Group uint32
	// Outside gives it eth0.
	Outside bool
	// PublicPort is the only port on eth0 that the edge may connect to, 0 for
	// none.
	PublicPort uint16
}

// Sandbox is a container's network namespace with its addresses; an address
// is invalid when the container has no such interface.
type Sandbox struct {
	NetnsPath   string
	PrivateAddr netip.Addr
	OutsideAddr netip.Addr
}

// Member is a sandbox together with what it was made for.
type Member struct {
	Request
	Sandbox
}
