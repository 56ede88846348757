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
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

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
	if paired && n.configured(inside, e) {
		return nil
	}
	if err := within(ns, func() error { return withoutIPv6(Interface) }); err != nil {
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
	return err == nil && port.Attrs().ParentIndex == link.Attrs().Index && link.Attrs().ParentIndex == port.Attrs().Index &&
		link.Attrs().HardwareAddr.String() == hardwareAddr(e.Addr).String()
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
	if err := n.links.LinkAdd(veth); err != nil {
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
		func() error { return within(n.ns, func() error { return withoutIPv6(link.Attrs().Name) }) },
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
	for flag, value := range map[int]byte{
		nl.IFLA_BRPORT_ISOLATED: 1, nl.IFLA_BRPORT_LEARNING: 0, nl.IFLA_BRPORT_UNICAST_FLOOD: 0, nl.IFLA_BRPORT_MCAST_FLOOD: 0,
	} {
		flags.AddRtAttr(flag, []byte{value})
	}
	req.AddData(port)
	req.AddData(flags)
	return within(n.ns, func() error {
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// configure gives the container's end its address and route; the route comes
// last, so an interface with one is whole.
func (n *Network) configure(inside *netlink.Handle, e Endpoint) error {
	link, err := inside.LinkByName(Interface)
	if err != nil {
		return fmt.Errorf("cannot find its interface: %w", err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: e.Addr.AsSlice(), Mask: net.CIDRMask(n.cfg.Prefix.Bits(), 32)}}
	if err := inside.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("cannot set its address: %w", err)
	}
	if err := inside.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot bring its interface up: %w", err)
	}
	if err := inside.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: n.Gateway().AsSlice()}); err != nil {
		return fmt.Errorf("cannot set its default route: %w", err)
	}
	return nil
}

// configured reports whether the container's end is as configure leaves it.
func (n *Network) configured(inside *netlink.Handle, e Endpoint) bool {
	link, err := inside.LinkByName(Interface)
	if err != nil || link.Attrs().Flags&net.FlagUp == 0 {
		return false
	}
	routes, err := inside.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		return false
	}
	for _, r := range routes {
		if gw, ok := netip.AddrFromSlice(r.Gw.To4()); ok && gw == n.Gateway() {
			return true
		}
	}
	return false
}

func (n *Network) disconnect(ctx context.Context, e Endpoint) error {
	delete(n.endpoints, e.ID)
	// The port first: one without a pin drops everything, but an address
	// without a port is nobody's.
	return errors.Join(n.deleteLink(hostEnd(e.ID)), n.forget(ctx, e))
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
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
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
