package outside

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// maxPorts is how many ports a bridge of Linux has room for (BR_MAX_PORTS in
// net/bridge/br_private.h, of which number 0 is not used).
const maxPorts = 1023

// portPrefix begins the names of host ends; the rules match it.
const portPrefix = "ato-"

// hostEnd is the name of an endpoint's host end, within the 15 bytes that an
// interface name may have.
func hostEnd(id string) string {
	sum := sha256.Sum256([]byte(id))
	return portPrefix + hex.EncodeToString(sum[:5])
}

// hardwareAddr is the MAC of an address: locally administered, and derived,
// so that no neighbour's cache can be stale.
func hardwareAddr(addr netip.Addr) net.HardwareAddr {
	a := addr.As4()
	return net.HardwareAddr{0x02, 0xa8, a[0], a[1], a[2], a[3]}
}

// connect makes an endpoint, or repairs what is wrong with it. An interface
// that is a pair with the right one stays: a container may be using it.
func (n *Network) connect(e Endpoint) error {
	ns, err := netns.GetFromPath(e.ContainerNetns)
	if err != nil {
		return fmt.Errorf("cannot open its network namespace %s: %w", e.ContainerNetns, err)
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot look into its network namespace: %w", err)
	}
	defer inside.Close()
	paired := n.paired(inside, e)
	if !paired {
		if err := n.pair(ns, e); err != nil {
			return err
		}
	}
	if err := n.preparePort(e); err != nil {
		return err
	}
	if paired && n.configured(e) {
		return nil
	}
	if err := namespace.Do(ns, func() error { return withoutIPv6(Interface) }); err != nil {
		return err
	}
	return n.configure(inside, e)
}

// paired reports whether both ends are there and belong together.
func (n *Network) paired(inside *netlink.Handle, e Endpoint) bool {
	port, err := n.links.LinkByName(hostEnd(e.ID))
	if err != nil {
		return false
	}
	link, err := inside.LinkByName(Interface)
	return err == nil && isPair(port, link) && link.Attrs().HardwareAddr.String() == hardwareAddr(e.Addr).String()
}

// isPair reports whether two interfaces, each of its own namespace, are the
// ends of one veth.
func isPair(port, inside netlink.Link) bool {
	return port.Attrs().ParentIndex == inside.Attrs().Index && inside.Attrs().ParentIndex == port.Attrs().Index
}

// pair makes both ends in their places at once; a host end without its other
// half is replaced.
func (n *Network) pair(ns netns.NsHandle, e Endpoint) error {
	if err := n.deleteLink(hostEnd(e.ID)); err != nil {
		return err
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: hostEnd(e.ID), MTU: n.cfg.MTU, MasterIndex: n.bridge},
		PeerName:  Interface, PeerHardwareAddr: hardwareAddr(e.Addr), PeerMTU: uint32(n.cfg.MTU), PeerNamespace: netlink.NsFd(int(ns)),
	}
	err := n.links.LinkAdd(veth)
	if errors.Is(err, unix.EXFULL) {
		return &FullError{reason: fmt.Sprintf("this machine has no room for another container: the bridge %s has its %d ports in use; scale down, or use another machine", n.cfg.Bridge, maxPorts)}
	}
	if err != nil {
		return fmt.Errorf("cannot make its interface: %w", err)
	}
	return nil
}

// preparePort makes the host end a port that reaches the node only, then
// switches it on. On one that is in order it changes nothing.
func (n *Network) preparePort(e Endpoint) error {
	link, err := n.links.LinkByName(hostEnd(e.ID))
	if err != nil {
		return fmt.Errorf("cannot find its host end: %w", err)
	}
	mac := &netlink.Neigh{LinkIndex: link.Attrs().Index, Family: unix.AF_BRIDGE, Flags: unix.NTF_MASTER, State: unix.NUD_NOARP, HardwareAddr: hardwareAddr(e.Addr)}
	for _, step := range []func() error{
		func() error { return n.links.LinkSetAlias(link, e.ID) },
		func() error { return namespace.Do(n.ns, func() error { return withoutIPv6(link.Attrs().Name) }) },
		func() error {
			if link.Attrs().MasterIndex == n.bridge {
				return nil
			}
			// Down first: a port must not be up before it is isolated.
			return errors.Join(n.links.LinkSetDown(link), n.links.LinkSetMasterByIndex(link, n.bridge))
		},
		func() error { return n.setPortFlags(link.Attrs().Index) },
		func() error { return n.links.NeighSet(mac) },
		func() error { return n.links.LinkSetUp(link) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("cannot prepare its host end: %w", err)
		}
	}
	return nil
}

// withoutIPv6 switches IPv6 off on an interface of the thread's namespace; a
// kernel without IPv6 has nothing to switch off.
func withoutIPv6(name string) error {
	var sysctl namespace.Settings
	defer sysctl.Close()
	s := ipv6Off(name)
	if err := sysctl.Set(s.name, s.value); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// portFlags are the flags of a port; see setPortFlags.
var portFlags = []struct {
	attr  int
	value byte
	name  string
}{
	{nl.IFLA_BRPORT_ISOLATED, 1, "isolated"},
	{nl.IFLA_BRPORT_LEARNING, 0, "learning"},
	{nl.IFLA_BRPORT_UNICAST_FLOOD, 0, "unicast flood"},
	{nl.IFLA_BRPORT_MCAST_FLOOD, 0, "multicast flood"},
}

// setPortFlags makes a port isolated: two containers must not meet here,
// because Linux answers for any of its addresses on any interface, the private
// one included (hole a). The bridge need not learn, since the MAC of a port is
// known and set, and so never has to try all ports with a packet. Broadcast
// stays: the node asks for addresses with it.
func (n *Network) setPortFlags(index int) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	port := nl.NewIfInfomsg(unix.AF_BRIDGE)
	port.Index = int32(index)
	flags := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	for _, f := range portFlags {
		flags.AddRtAttr(f.attr, []byte{f.value})
	}
	req.AddData(port)
	req.AddData(flags)
	return namespace.Do(n.ns, func() error {
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// configure gives the container's end its address and routes; the default
// route comes last, so an interface with one is whole.
func (n *Network) configure(inside *netlink.Handle, e Endpoint) error {
	link, err := inside.LinkByName(Interface)
	if err != nil {
		return fmt.Errorf("cannot find its interface: %w", err)
	}
	if port, err := n.links.LinkByName(hostEnd(e.ID)); err == nil && port.Attrs().MTU != link.Attrs().MTU {
		if err := inside.LinkSetMTU(link, port.Attrs().MTU); err != nil {
			return fmt.Errorf("cannot set the MTU of its interface: %w", err)
		}
	}
	if err := n.setOnlyAddress(inside, link, e); err != nil {
		return err
	}
	if err := inside.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot bring its interface up: %w", err)
	}
	index := link.Attrs().Index
	for _, r := range []*netlink.Route{
		{LinkIndex: index, Dst: host(n.Gateway()), Src: e.Addr.AsSlice(), Scope: netlink.SCOPE_LINK},
		{LinkIndex: index, Gw: n.Gateway().AsSlice()},
	} {
		if err := inside.RouteReplace(r); err != nil {
			return fmt.Errorf("cannot set its route %s: %w", r, err)
		}
	}
	return nil
}

// setOnlyAddress takes addresses away that are not the container's: the pin
// drops what comes from them, and the container would choose them.
func (n *Network) setOnlyAddress(inside *netlink.Handle, link netlink.Link, e Endpoint) error {
	want := n.containerNet(e)
	addrs, err := dump(func() ([]netlink.Addr, error) { return inside.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("cannot list its addresses: %w", err)
	}
	for _, a := range addrs {
		if a.IPNet.String() == want.String() {
			continue
		}
		// One that was made for a primary address goes with it.
		if err := inside.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("cannot remove the address %s: %w", a.IPNet, err)
		}
	}
	if err := inside.AddrReplace(link, &netlink.Addr{IPNet: want}); err != nil {
		return fmt.Errorf("cannot set its address: %w", err)
	}
	return nil
}

// configured reports whether the container's end is as configure leaves it.
func (n *Network) configured(e Endpoint) bool {
	port, err := n.links.LinkByName(hostEnd(e.ID))
	return err == nil && len(n.compareInside(port, e)) == 0
}

// disconnect removes all of an endpoint. Connections go last: what is still
// sent to the address is refused by then, and tracked no more.
func (n *Network) disconnect(ctx context.Context, e Endpoint) error {
	return errors.Join(n.unplug(ctx, e), n.forgetConnections(e.Addr))
}

// unplug removes an endpoint's port and pin, the port first: one without a pin
// drops everything, but an address without a port is nobody's. The endpoint is
// known until both are gone, so that whoever tries again finds what is left.
func (n *Network) unplug(ctx context.Context, e Endpoint) error {
	err := errors.Join(n.deleteLink(hostEnd(e.ID)), n.forget(ctx, e))
	if err == nil {
		delete(n.endpoints, e.ID)
	}
	return err
}

// removeStrays deletes host ends that nobody wants.
func (n *Network) removeStrays(wanted map[string]Endpoint) error {
	links, err := dump(n.links.LinkList)
	if err != nil {
		return fmt.Errorf("cannot list the interfaces: %w", err)
	}
	keep := map[string]bool{}
	for id := range wanted {
		keep[hostEnd(id)] = true
	}
	var errs []error
	for _, l := range links {
		name := l.Attrs().Name
		if _, veth := l.(*netlink.Veth); veth && strings.HasPrefix(name, portPrefix) && !keep[name] {
			n.cfg.Log.Warn("Removing an interface that no container has", "interface", name, "container", l.Attrs().Alias)
			errs = append(errs, n.deleteLink(name))
		}
	}
	return errors.Join(errs...)
}

func (n *Network) deleteLink(name string) error {
	link, err := n.links.LinkByName(name)
	if isMissing(err) {
		return nil
	}
	if err == nil {
		err = n.links.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot remove the interface %s: %w", name, err)
	}
	return nil
}

func isMissing(err error) bool { return errors.As(err, new(netlink.LinkNotFoundError)) }

// dump reads a list from the kernel, again when it changed meanwhile: a
// container may end, and take its interface along, at any time.
func dump[T any](read func() ([]T, error)) (all []T, err error) {
	for range 20 {
		if all, err = read(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// last is the broadcast address of a range.
func last(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	v := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
	binary.BigEndian.PutUint32(a[:], v)
	return netip.AddrFrom4(a)
}
