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
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
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

// connect makes the veth of an endpoint unless it is there and whole.
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
	if n.whole(inside, e) {
		return nil
	}
	// Half-made: begin again. Nothing can have used it yet.
	if err := n.deleteLink(hostEnd(e.ID)); err != nil {
		return err
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: hostEnd(e.ID), Alias: e.ID, MTU: n.cfg.MTU, MasterIndex: n.bridge},
		PeerName:  Interface, PeerHardwareAddr: hardwareAddr(e.Addr), PeerMTU: uint32(n.cfg.MTU), PeerNamespace: netlink.NsFd(int(ns)),
	}
	if err := n.links.LinkAdd(veth); err != nil {
		return fmt.Errorf("cannot make its interface: %w", err)
	}
	if err := n.preparePort(veth.Name, e); err != nil {
		return err
	}
	if err := within(ns, func() error {
		err := sysctl("net/ipv6/conf/"+Interface+"/disable_ipv6", "1")
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}); err != nil {
		return err
	}
	return n.configure(inside, e)
}

// preparePort sets the host end up. Isolated ports reach the node only: two
// containers must not meet here, because Linux answers for any of its
// addresses on any interface, the private one included.
func (n *Network) preparePort(name string, e Endpoint) error {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("cannot find its host end: %w", err)
	}
	if err := sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, step := range []func() error{
		func() error { return n.links.LinkSetAlias(link, e.ID) },
		func() error { return n.links.LinkSetIsolated(link, true) },
		func() error { return n.links.LinkSetUp(link) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("cannot prepare its host end: %w", err)
		}
	}
	return nil
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

// whole reports whether an endpoint is as connect leaves it.
func (n *Network) whole(inside *netlink.Handle, e Endpoint) bool {
	port, err := n.links.LinkByName(hostEnd(e.ID))
	if err != nil || port.Attrs().MasterIndex != n.bridge || port.Attrs().Flags&net.FlagUp == 0 {
		return false
	}
	link, err := inside.LinkByName(Interface)
	if err != nil || link.Attrs().HardwareAddr.String() != hardwareAddr(e.Addr).String() || port.Attrs().ParentIndex != link.Attrs().Index {
		return false
	}
	isolated, err := n.links.LinkGetProtinfo(port)
	if err != nil || !isolated.Isolated {
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
	return errors.Join(n.deleteLink(hostEnd(e.ID)), n.deleteElements(ctx, e))
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

// within runs f in a network namespace.
func within(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- fmt.Errorf("cannot tell the present network namespace: %w", err)
			return
		}
		defer home.Close()
		if err := netns.Set(ns); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("cannot enter a network namespace: %w", err)
			return
		}
		err = f()
		// A thread that cannot come back stays locked and ends with this
		// goroutine; one that is back is anybody's again.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// last is the broadcast address of a range.
func last(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	v := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
	binary.BigEndian.PutUint32(a[:], v)
	return netip.AddrFrom4(a)
}
