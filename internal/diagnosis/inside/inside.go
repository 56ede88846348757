// Package inside looks and acts from inside the network namespaces of
// containers, for package diagnosis. It imports platform, namespace, discovery,
// resolver and diagnosis.
//
// Sockets keep the namespace in which they were made, so only that happens
// there.
package inside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/diagnosis"
	"github.com/atollhq/atoll/internal/discovery"
	"github.com/atollhq/atoll/internal/namespace"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/resolver"
)

// Network is the view from inside. The zero value is ready to use.
type Network struct{}

var _ diagnosis.Inside = Network{}

// How long answers are waited for.
const (
	lookupTime  = 5 * time.Second // what C libraries wait
	connectTime = 2 * time.Second
	// refusalTime is for an ICMP message on this machine: microseconds.
	refusalTime = 300 * time.Millisecond
)

// Lookup asks a resolver for the IPv4 addresses of a name.
func (Network) Lookup(ctx context.Context, path string, server netip.AddrPort, name string) (string, []netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	return resolver.Ask(ctx, name, func(ctx context.Context, network string) (net.Conn, error) {
		return dial(ctx, path, network, server)
	})
}

// Listeners lists the sockets that wait for traffic.
func (Network) Listeners(path string) (listeners []platform.Listener, err error) {
	ns, err := discovery.OpenNamespace(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	sockets, err := ns.Sockets()
	for _, s := range sockets {
		listeners = append(listeners, s.Listener)
	}
	return listeners, err
}

// Way says how packets to addr leave.
func (Network) Way(path string, addr netip.Addr) (w diagnosis.Way, err error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return w, fmt.Errorf("cannot open network namespace %s: %w", path, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return w, fmt.Errorf("cannot look at the routes in %s: %w", path, err)
	}
	defer h.Close()
	routes, err := h.RouteGet(addr.AsSlice())
	if err != nil || len(routes) == 0 {
		return w, fmt.Errorf("no route: %w", errors.Join(err))
	}
	link, err := h.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return w, fmt.Errorf("cannot find the interface of a route: %w", err)
	}
	w.Link = link.Attrs().Name
	w.Source, _ = netip.AddrFromSlice(routes[0].Src.To4())
	known, err := neighbours(h, routes[0].LinkIndex)
	if err != nil {
		return w, fmt.Errorf("cannot list the neighbours: %w", err)
	}
	for _, n := range known {
		if ip, ok := netip.AddrFromSlice(n.IP.To4()); ok && ip == addr {
			w.Neighbour = states[n.State]
		}
	}
	return w, nil
}

// Try connects by TCP, or sends an empty datagram by UDP.
func (Network) Try(ctx context.Context, path, protocol string, to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := dial(ctx, path, protocol, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	if protocol == "tcp" {
		return nil
	}
	if _, err := conn.Write(nil); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(refusalTime)); err != nil {
		return err
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
		return err
	}
	return nil
}

// Private

// states in the words of ip-neighbour(8).
var states = map[int]string{
	unix.NUD_INCOMPLETE: "incomplete", unix.NUD_REACHABLE: "reachable", unix.NUD_STALE: "stale", unix.NUD_DELAY: "delay",
	unix.NUD_PROBE: "probe", unix.NUD_FAILED: "failed", unix.NUD_NOARP: "noarp", unix.NUD_PERMANENT: "permanent",
}

// neighbours lists, again when the list changed meanwhile.
func neighbours(h *netlink.Handle, link int) (list []netlink.Neigh, err error) {
	for range 5 {
		list, err = h.NeighList(link, netlink.FAMILY_V4)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}

// dial connects from the namespace at path. to has a number for its host: the
// standard library would look names up elsewhere.
func dial(ctx context.Context, path, network string, to netip.AddrPort) (conn net.Conn, err error) {
	err = namespace.DoAt(path, func() (err error) {
		// Of one family: for two, the standard library dials in goroutines.
		conn, err = new(net.Dialer).DialContext(ctx, network+"4", to.String())
		return err
	})
	return conn, err
}
