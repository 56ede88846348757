package privnet

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// container is the container's side of an endpoint: its network namespace and
// pn0 in it.
type container struct {
	path  string
	ns    netns.NsHandle
	links *netlink.Handle
}

func openContainer(path string) (*container, error) {
	bound, err := isNamespace(path)
	if errors.Is(err, os.ErrNotExist) || (err == nil && !bound) {
		return nil, fmt.Errorf("%s is no network namespace; is the container gone?", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look at the container's network namespace: %w", err)
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the container's network namespace: %w", err)
	}
	handle, err := handleAt(ns)
	if err != nil {
		ns.Close()
		return nil, fmt.Errorf("cannot reach into the container's network namespace %s: %w", path, err)
	}
	return &container{path: path, ns: ns, links: handle}, nil
}

func (c *container) close() {
	c.links.Close()
	c.ns.Close()
}

// link returns the container's pn0, nil if it has none.
func (c *container) link() (netlink.Link, error) {
	link, err := c.links.LinkByName(Interface)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look up %s in the container: %w", Interface, err)
	}
	return link, nil
}

// unoccupied is an error if the container has a pn0 already, of another
// endpoint or of somebody else's making.
func (c *container) unoccupied() error {
	link, err := c.link()
	if err == nil && link != nil {
		return fmt.Errorf("%s has an interface %s already that is not this endpoint's; remove it, or use another network namespace",
			c.path, Interface)
	}
	return err
}

// ensure sets up pn0: MAC, MTU, no IPv6, its address and the route to its
// network; and says whether anything was otherwise.
func (c *container) ensure(e Endpoint) (changed bool, err error) {
	link, err := c.link()
	if err != nil {
		return false, err
	}
	if link == nil {
		return false, fmt.Errorf("%s is gone from the container", Interface)
	}
	for _, step := range []func(netlink.Link, Endpoint) (bool, error){
		c.ensureAttributes, c.ensureNoIPv6, c.ensureAddress, c.ensureUp, c.ensureRoute,
	} {
		did, err := step(link, e)
		if err != nil {
			return changed, fmt.Errorf("cannot set up %s in the container: %w", Interface, err)
		}
		changed = changed || did
	}
	return changed, nil
}

func (c *container) ensureAttributes(link netlink.Link, e Endpoint) (changed bool, err error) {
	if mac := HardwareAddr(e.Addr); !bytes.Equal(link.Attrs().HardwareAddr, mac) {
		if err := c.links.LinkSetHardwareAddr(link, mac); err != nil {
			return changed, fmt.Errorf("MAC %s: %w", mac, err)
		}
		changed = true
	}
	if link.Attrs().MTU != e.mtu() {
		if err := c.links.LinkSetMTU(link, e.mtu()); err != nil {
			return changed, fmt.Errorf("MTU %d: %w", e.mtu(), err)
		}
		changed = true
	}
	return changed, nil
}

// ensureNoIPv6 comes before the interface is up: the kernel would give it a
// link-local address and announce it.
func (c *container) ensureNoIPv6(netlink.Link, Endpoint) (changed bool, err error) {
	const key = "net/ipv6/conf/" + Interface + "/disable_ipv6"
	err = inNamespace(c.ns, func() error {
		if value, err := os.ReadFile("/proc/sys/" + key); err == nil && value[0] == '1' {
			return nil
		}
		changed = haveIPv6()
		return writeSysctl(key, "1")
	})
	return changed, err
}

// ensureAddress gives pn0 its address as a /32. With the /22 of the network,
// the resolvers of glibc, Node and Java would sort the addresses of a name by
// how many bits they share with ours, and send every connection to one
// replica.
func (c *container) ensureAddress(link netlink.Link, e Endpoint) (changed bool, err error) {
	have, err := dump(func() ([]netlink.Addr, error) { return c.links.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return false, fmt.Errorf("addresses: %w", err)
	}
	want := host32(e)
	found := false
	for _, a := range have {
		if a.IPNet.String() == want.String() {
			found = true
			continue
		}
		if err := c.links.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return changed, fmt.Errorf("removing the address %s: %w", a.IPNet, err)
		}
		changed = true
	}
	if found {
		return changed, nil
	}
	if err := c.links.AddrAdd(link, &netlink.Addr{IPNet: want}); err != nil {
		return changed, fmt.Errorf("address %s: %w", want, err)
	}
	return true, nil
}

func (c *container) ensureUp(link netlink.Link, _ Endpoint) (bool, error) {
	if link.Attrs().RawFlags&unix.IFF_UP != 0 {
		return false, nil
	}
	if err := c.links.LinkSetUp(link); err != nil {
		return false, fmt.Errorf("setting it up: %w", err)
	}
	return true, nil
}

// ensureRoute makes the network's range directly reachable through pn0.
func (c *container) ensureRoute(link netlink.Link, e Endpoint) (bool, error) {
	want := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       &net.IPNet{IP: Prefix.Addr().AsSlice(), Mask: net.CIDRMask(Prefix.Bits(), 32)},
		Src:       net.IP(e.Addr.AsSlice()),
		Scope:     netlink.SCOPE_LINK,
		Table:     unix.RT_TABLE_MAIN,
		Protocol:  unix.RTPROT_STATIC,
	}
	have, err := dump(func() ([]netlink.Route, error) {
		return c.links.RouteListFiltered(netlink.FAMILY_V4, want,
			netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
	})
	if err != nil {
		return false, fmt.Errorf("routes: %w", err)
	}
	for _, r := range have {
		if r.Scope == want.Scope && r.Gw == nil && r.Src.Equal(want.Src) {
			return false, nil
		}
	}
	if err := c.links.RouteReplace(want); err != nil {
		return false, fmt.Errorf("route to %s: %w", Prefix, err)
	}
	return true, nil
}

func host32(e Endpoint) *net.IPNet {
	return &net.IPNet{IP: net.IP(e.Addr.AsSlice()), Mask: net.CIDRMask(32, 32)}
}
