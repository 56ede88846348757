package privnet

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// container is the container's side of an endpoint: its network namespace and
// pn0 in it.
type container struct {
	path  string
	ns    netns.NsHandle
	links *netlink.Handle
	look  *namespace.Links
	// seen is pn0 as it was when last looked at, nil when it has to be looked
	// at (again); ipv6 says that it was on.
	seen netlink.Link
	ipv6 bool
}

func openContainer(path string) (*container, error) {
	bound, err := namespace.Bound(path)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the container's network namespace: %w", err)
	}
	if !bound {
		return nil, fmt.Errorf("%s is no network namespace; is the container gone?", path)
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
	look, err := namespace.OpenLinks(ns)
	if err != nil {
		handle.Close()
		ns.Close()
		return nil, fmt.Errorf("cannot look into the container's network namespace %s: %w", path, err)
	}
	return &container{path: path, ns: ns, links: handle, look: look}, nil
}

func (c *container) close() {
	c.look.Close()
	c.links.Close()
	c.ns.Close()
}

// link looks at the container's pn0, nil if it has none.
func (c *container) link() (link netlink.Link, err error) {
	if c.seen, c.ipv6, err = c.look.Link(Interface); err != nil {
		return nil, fmt.Errorf("cannot look into the container: %w", err)
	}
	return c.seen, nil
}

// present is the container's pn0 as it was when last looked at.
func (c *container) present() (netlink.Link, error) {
	if c.seen != nil {
		return c.seen, nil
	}
	link, err := c.link()
	if err == nil && link == nil {
		err = fmt.Errorf("%s is gone from the container", Interface)
	}
	return link, err
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

// parts returns what pn0 consists of: MAC, MTU, no IPv6, its address and the
// route to its network.
func (c *container) parts(e Endpoint) []part {
	return []part{
		c.part("MAC", func(link netlink.Link) (bool, error) {
			return !bytes.Equal(link.Attrs().HardwareAddr, HardwareAddr(e.Addr)), nil
		}, func(link netlink.Link) error { return c.links.LinkSetHardwareAddr(link, HardwareAddr(e.Addr)) }),
		c.part("MTU", func(link netlink.Link) (bool, error) {
			return link.Attrs().MTU != e.mtu(), nil
		}, func(link netlink.Link) error { return c.links.LinkSetMTU(link, e.mtu()) }),
		// Before the interface is up: the kernel would give it a link-local
		// address and announce it.
		c.part("IPv6", func(netlink.Link) (bool, error) { return c.ipv6, nil },
			func(netlink.Link) error { return c.disableIPv6() }),
		c.part("address", func(link netlink.Link) (bool, error) {
			missing, strange, err := c.addresses(link, e)
			return missing || len(strange) > 0, err
		}, func(link netlink.Link) error { return c.setAddress(link, e) }),
		c.part("state", func(link netlink.Link) (bool, error) {
			return link.Attrs().RawFlags&unix.IFF_UP == 0, nil
		}, func(link netlink.Link) error { return c.links.LinkSetUp(link) }),
		c.part("route", func(link netlink.Link) (bool, error) {
			return c.lacksRoute(c.route(link, e))
		}, func(link netlink.Link) error { return c.links.RouteReplace(c.route(link, e)) }),
	}
}

// part is one thing about pn0. All are seen in one look, until one is put
// right.
func (c *container) part(what string, wrong func(netlink.Link) (bool, error), fix func(netlink.Link) error) part {
	return part{
		what + " of the container's " + Interface,
		func() (bool, error) {
			link, err := c.present()
			if err != nil {
				return true, err
			}
			return wrong(link)
		},
		func() error {
			link, err := c.present()
			if err != nil {
				return err
			}
			c.seen = nil
			return fix(link)
		},
	}
}

func (c *container) disableIPv6() error {
	return namespace.Do(c.ns, func() error {
		var sysctl namespace.Settings
		defer sysctl.Close()
		return writeSysctl(&sysctl, "net/ipv6/conf/"+Interface+"/disable_ipv6", "1")
	})
}

// addresses tells what pn0 lacks and has too much. It has its address as a
// /32: with the /22 of the network, the resolvers of glibc, Node and Java would
// sort the addresses of a name by how many bits they share with ours, and send
// every connection to one replica.
func (c *container) addresses(link netlink.Link, e Endpoint) (missing bool, strange []netlink.Addr, err error) {
	have, err := dump(func() ([]netlink.Addr, error) { return c.links.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return false, nil, err
	}
	missing = true
	for _, a := range have {
		if a.IPNet.String() == host32(e).String() {
			missing = false
		} else {
			strange = append(strange, a)
		}
	}
	return missing, strange, nil
}

func (c *container) setAddress(link netlink.Link, e Endpoint) error {
	missing, strange, err := c.addresses(link, e)
	if err != nil {
		return err
	}
	for _, a := range strange {
		if err := c.links.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("cannot remove %s: %w", a.IPNet, err)
		}
	}
	if !missing {
		return nil
	}
	return c.links.AddrAdd(link, &netlink.Addr{IPNet: host32(e)})
}

// route makes the network's range directly reachable through pn0.
func (c *container) route(link netlink.Link, e Endpoint) *netlink.Route {
	return &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       &net.IPNet{IP: Prefix.Addr().AsSlice(), Mask: net.CIDRMask(Prefix.Bits(), 32)},
		Src:       net.IP(e.Addr.AsSlice()),
		Scope:     netlink.SCOPE_LINK,
		Table:     unix.RT_TABLE_MAIN,
		Protocol:  unix.RTPROT_STATIC,
	}
}

func (c *container) lacksRoute(want *netlink.Route) (bool, error) {
	have, err := dump(func() ([]netlink.Route, error) {
		return c.links.RouteListFiltered(netlink.FAMILY_V4, want,
			netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
	})
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(have, func(r netlink.Route) bool {
		return r.Scope == want.Scope && r.Gw == nil && r.Src.Equal(want.Src)
	}), nil
}

func host32(e Endpoint) *net.IPNet {
	return &net.IPNet{IP: net.IP(e.Addr.AsSlice()), Mask: net.CIDRMask(32, 32)}
}
