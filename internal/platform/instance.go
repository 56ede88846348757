package platform

import (
	"fmt"
	"net/netip"
	"time"
)

// InstanceState is where a container is in its life.
type InstanceState string

// The states of an instance. An instance that is gone is not in the roster.
const (
	// InstanceStarting: created, its process does not run yet. With a Reason,
	// it waits for room and is tried again at RetryAt.
	InstanceStarting InstanceState = "starting"
	// InstanceRunning: its process runs (ready or not).
	InstanceRunning InstanceState = "running"
	// InstanceCrashed: its process ended unasked; the engine starts it again
	// at RetryAt.
	InstanceCrashed InstanceState = "crashed"
	// InstanceFailed: it could not be created; Reason says why. The engine
	// tries again at RetryAt.
	InstanceFailed InstanceState = "failed"
	// InstanceDraining: to be stopped, already out of service names, still
	// serving.
	InstanceDraining InstanceState = "draining"
	// InstanceStopping: SIGTERM was sent.
	InstanceStopping InstanceState = "stopping"
	// InstanceEnded: it was to run once and did; LastExit says how it ended.
	// It has no addresses any more, and is in the roster only until its end
	// has been taken note of.
	InstanceEnded InstanceState = "ended"
)

// Instance is one container as it really is: a row of the roster.
type Instance struct {
	// ID is the container's UUID; it is stable over crash restarts.
	ID         string
	WorkloadID string
	ProjectID  string
	NetworkID  string
	AppID      string
	AppName    string
	Type       string
	Kind       Kind
	// Number counts from 1 within app and type.
	Number int
	// Generation orders replacements of the same number: higher is newer.
	Generation int64
	// Active mirrors the workload: in service or waiting for the switch.
	Active bool
	State  InstanceState
	// Reason explains crashed, failed and a start that waits in words.
	Reason string
	// PrivateAddr is on pn0, OutsideAddr on eth0; invalid while unknown.
	PrivateAddr netip.Addr
	OutsideAddr netip.Addr
	// NetnsPath is the container's network namespace on its node.
	NetnsPath string
	Size      string
	Command   string
	Image     string
	Version   string
	Node      string
	CreatedAt time.Time
	// StartedAt is when the present process started; zero while none runs.
	StartedAt time.Time
	// Restarts counts crashes of this instance; LastExit is the last one.
	Restarts int
	LastExit *Exit
	RetryAt  time.Time
	// Observation is what the node saw from outside the container.
	Observation Observation
}

// Exit is how a process ended.
type Exit struct {
	Code int
	At   time.Time
	// OOM: the kernel killed it for memory.
	OOM bool
}

// Observation is what the node's observer writes about an instance.
type Observation struct {
	// Ready: it may be in service names and routes (architecture, decision
	// 7). It stays true for the life of a process once reached.
	Ready   bool
	ReadyAt time.Time
	// Listeners are the sockets it listens on, by port, then protocol.
	Listeners []Listener
	// Leaving: Listeners were looked at after it began to drain.
	Leaving bool
	// Served: this process, or an earlier one of the same container, has
	// listened where members of the private network can connect to.
	Served bool
}

// Listener is a socket that waits for traffic inside a container.
type Listener struct {
	// Protocol is "tcp" or "udp".
	Protocol string
	// Addr is the address bound to; unspecified means all.
	Addr netip.Addr
	Port uint16
}

// Label is how people see the container: "web-1".
func (i Instance) Label() string { return ContainerLabel(i.Type, i.Number) }

// ContainerLabel returns "<type>-<n>" (PT-12).
func ContainerLabel(processType string, number int) string {
	return fmt.Sprintf("%s-%d", processType, number)
}

// InService reports whether the instance belongs into type and app names and
// behind the router.
func (i Instance) InService() bool {
	return i.Kind == KindApp && i.Active && i.State == InstanceRunning && i.Observation.Ready
}

// ListensPrivately reports whether members of the private network can
// connect to some TCP or UDP socket of it.
func (i Instance) ListensPrivately() bool {
	for _, l := range i.Observation.Listeners {
		if l.Addr.IsUnspecified() || l.Addr.Unmap() == i.PrivateAddr {
			return true
		}
	}
	return false
}

// Reachable reports whether anybody but the container itself can connect to
// one of its sockets: then a stop has to drain first.
func (i Instance) Reachable() bool {
	if i.ListensPrivately() {
		return true
	}
	for _, l := range i.Observation.Listeners {
		if IsPublic(i.Type) && l.Addr.Unmap() == i.OutsideAddr {
			return true
		}
	}
	return false
}
