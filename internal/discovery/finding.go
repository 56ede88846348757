package discovery

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/atollhq/atoll/internal/platform"
)

// Finding is something about a container's sockets that keeps others from
// reaching it.
type Finding struct {
	// Problem says what was seen, Advice what to do.
	Problem string
	Advice  string
}

// Explain says in one line why nobody reaches the container, from what the
// roster knows; "" when nothing is wrong with it.
func Explain(inst platform.Instance) string {
	f, found := Find(inst)
	if !found {
		return ""
	}
	return f.Problem + ". " + f.Advice + "."
}

// Find looks for what is wrong with a container's sockets. For web and tcp
// the router (or the TCP gateway) has to reach them, for all others the
// members of the private network; a type that listens nowhere is no problem
// then.
func Find(inst platform.Instance) (Finding, bool) {
	switch inst.State {
	case platform.InstanceStarting:
		if inst.Reason != "" {
			return Finding{inst.Label() + " waits: " + inst.Reason, "It starts by itself as soon as there is room"}, true
		}
		return Finding{inst.Label() + " has not started yet", "Look at the start command and the machine's load"}, true
	case platform.InstanceCrashed, platform.InstanceFailed:
		return Finding{inst.Label() + " does not run: " + reason(inst), "Its last lines are in the app's logs"}, true
	}
	if platform.IsPublic(inst.Type) && inst.Kind == platform.KindApp {
		if inst.Observation.Ready {
			return Finding{}, false
		}
		return findPublic(inst), true
	}
	if listeners := inst.Observation.Listeners; len(listeners) > 0 && !inst.ListensPrivately() {
		return Finding{
			fmt.Sprintf("%s listens on %s only; other containers cannot reach it there", inst.Label(), list(listeners)),
			"Bind to $SCALINGO_PRIVATE_HOSTNAME or to 0.0.0.0",
		}, true
	}
	return Finding{}, false
}

// findPublic is about a web or tcp container that is not ready.
func findPublic(inst platform.Instance) Finding {
	reached := fmt.Sprintf("the router reaches 0.0.0.0:%d", platform.Port)
	var onPort, elsewhere, udp []platform.Listener
	for _, l := range inst.Observation.Listeners {
		switch {
		case l.Protocol == "udp" && l.Port == platform.Port:
			udp = append(udp, l)
		case l.Protocol == "udp":
		case l.Port == platform.Port:
			onPort = append(onPort, l)
		default:
			elsewhere = append(elsewhere, l)
		}
	}
	for _, l := range onPort {
		if l.Addr.IsUnspecified() || l.Addr == inst.OutsideAddr {
			return Finding{
				fmt.Sprintf("%s listens on %s but accepts no connection", inst.Label(), address(l)),
				"The program seems to be stuck: see what it logs while it starts",
			}
		}
	}
	switch {
	case len(onPort) > 0:
		return Finding{
			fmt.Sprintf("%s listens on %s; %s", inst.Label(), list(onPort), reached),
			"Bind to 0.0.0.0 instead of one address",
		}
	case len(elsewhere) > 0:
		return Finding{
			fmt.Sprintf("%s listens on %s; %s", inst.Label(), list(elsewhere), reached),
			"Use the port in $PORT, and bind to 0.0.0.0",
		}
	case len(udp) > 0:
		return Finding{
			fmt.Sprintf("%s listens on %s; %s over TCP", inst.Label(), list(udp), reached),
			"Listen on TCP, or rename the process type if it is a private service",
		}
	}
	return Finding{
		fmt.Sprintf("%s listens on no IPv4 port; %s", inst.Label(), reached),
		fmt.Sprintf("Listen on 0.0.0.0 and the port in $PORT (%d), or scale %s to 0 if it needs no public address", platform.Port, inst.Type),
	}
}

func reason(inst platform.Instance) string {
	if inst.Reason == "" {
		return "it has " + string(inst.State)
	}
	return inst.Reason
}

// list names sockets, at most a handful.
func list(listeners []platform.Listener) string {
	const most = 5
	var names []string
	for i, l := range listeners {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(listeners)-most))
			break
		}
		names = append(names, address(l))
	}
	return strings.Join(names, ", ")
}

func address(l platform.Listener) string {
	s := netip.AddrPortFrom(l.Addr, l.Port).String()
	if l.Protocol == "udp" {
		s += " (UDP)"
	}
	return s
}
