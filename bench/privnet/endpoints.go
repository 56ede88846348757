package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/bench/ratio"
	"github.com/atollhq/atoll/internal/privnet"
)

// batch is how many endpoints are added and removed in one measurement.
const batch = 20

// endpointTimes are means per endpoint, in milliseconds.
type endpointTimes struct{ add, remove, removeAll float64 }

// endpoints compares adding and removing endpoints, one after the other and
// all at once, with a bridge.
func endpoints(dir string, rounds int, _ time.Duration) ([]*ratio.Series, error) {
	const peer = "bridge and veth"
	var containers []string
	for i := range batch {
		ns, err := namespace(dir, fmt.Sprintf("endpoint %d", i))
		if err != nil {
			return nil, err
		}
		containers = append(containers, ns)
	}
	sw, err := openSwitch(dir, "endpoints", privnet.Config{})
	if err != nil {
		return nil, err
	}
	br, err := newBridge(dir)
	if err != nil {
		return nil, err
	}
	add := ratio.New("add an endpoint", peer, "lower", "ms")
	remove := ratio.New("remove an endpoint", peer, "lower", "ms")
	all := ratio.New(fmt.Sprintf("remove %d at once, each", batch), peer, "lower", "ms")
	for round := range rounds {
		a, b, err := pair(round, func() (endpointTimes, error) { return onSwitch(sw, containers) },
			func() (endpointTimes, error) { return br.measure(containers) })
		if err != nil {
			return nil, err
		}
		add.Add(a.add, b.add)
		remove.Add(a.remove, b.remove)
		all.Add(a.removeAll, b.removeAll)
	}
	return []*ratio.Series{add, remove, all}, nil
}

func onSwitch(sw *privnet.Switch, containers []string) (t endpointTimes, err error) {
	ctx := context.Background()
	addAll := func() error {
		addr := addrA
		for i, ns := range containers {
			if err := sw.Attach(ctx, privnet.Endpoint{ID: fmt.Sprint(i), Network: 1, Addr: addr, ContainerNetns: ns}); err != nil {
				return err
			}
			addr = addr.Next()
		}
		return nil
	}
	return timed(addAll, func() error {
		for i := range containers {
			if err := sw.Detach(ctx, fmt.Sprint(i)); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		_, err := sw.Set(ctx, nil)
		return err
	})
}

// timed adds and removes twice, each way to remove once.
func timed(add, remove, removeAll func() error) (t endpointTimes, err error) {
	for _, step := range []struct {
		do   func() error
		into *float64
	}{{add, &t.add}, {remove, &t.remove}, {add, nil}, {removeAll, &t.removeAll}} {
		start := time.Now()
		if err := step.do(); err != nil {
			return t, err
		}
		if step.into != nil {
			*step.into = time.Since(start).Seconds() * 1e3 / batch
		}
	}
	return t, nil
}

// bridgeHost is a namespace with a bridge, as Docker's host is.
type bridgeHost struct {
	ns     netns.NsHandle
	links  *netlink.Handle
	bridge int
}

func newBridge(dir string) (*bridgeHost, error) {
	path, err := namespace(dir, "endpoints bridge")
	if err != nil {
		return nil, err
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	links, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := errors.Join(links.LinkAdd(br), links.LinkSetUp(br)); err != nil {
		return nil, fmt.Errorf("cannot make a bridge: %w", err)
	}
	return &bridgeHost{ns, links, br.Attrs().Index}, nil
}

func (h *bridgeHost) measure(containers []string) (endpointTimes, error) {
	remove := func() error {
		for i := range containers {
			if err := h.links.LinkDel(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("veth%d", i)}}); err != nil {
				return err
			}
		}
		return nil
	}
	return timed(func() error {
		addr := addrA
		for i, ns := range containers {
			if err := h.add(fmt.Sprintf("veth%d", i), ns, addr); err != nil {
				return fmt.Errorf("cannot add an endpoint to the bridge: %w", err)
			}
			addr = addr.Next()
		}
		return nil
	}, remove, func() error { return h.removeAll(len(containers)) })
}

// group is that of the interfaces that the peer removes at once.
const group = 20

// removeAll removes n interfaces as the switch does, in one step: the kernel
// waits for its readers once. Docker's driver would remove them one by one.
func (h *bridgeHost) removeAll(n int) error {
	for i := range n {
		if err := h.links.LinkSetGroup(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("veth%d", i)}}, group); err != nil {
			return err
		}
	}
	socket, err := nl.GetNetlinkSocketAt(h.ns, netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer socket.Close()
	request := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	request.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(group)))
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("cannot remove %d interfaces at once: %w", n, err)
	}
	return nil
}

// add does what Docker's bridge driver and sandbox do: a veth in the host's
// namespace, one end into the bridge, the other into the container, where it
// gets its name, MAC, address and default route.
func (h *bridgeHost) add(name, container string, addr netip.Addr) error {
	ns, err := netns.GetFromPath(container)
	if err != nil {
		return err
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()

	peer := name + "c"
	if err := h.links.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500}, PeerName: peer}); err != nil {
		return err
	}
	host, err := h.links.LinkByName(name)
	if err != nil {
		return err
	}
	end, err := h.links.LinkByName(peer)
	if err != nil {
		return err
	}
	if err := errors.Join(h.links.LinkSetMasterByIndex(host, h.bridge), h.links.LinkSetNsFd(end, int(ns))); err != nil {
		return err
	}
	if end, err = inside.LinkByName(peer); err != nil {
		return err
	}
	mac := privnet.HardwareAddr(addr)
	gateway := net.IPv4(10, 240, 3, 254)
	return errors.Join(
		inside.LinkSetDown(end),
		inside.LinkSetName(end, "eth0"),
		inside.LinkSetHardwareAddr(end, mac),
		inside.AddrAdd(end, &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(22, 32)}}),
		inside.LinkSetUp(end),
		h.links.LinkSetUp(host),
		inside.RouteAdd(&netlink.Route{LinkIndex: end.Attrs().Index, Gw: gateway}),
	)
}
