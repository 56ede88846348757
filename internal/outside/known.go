package outside

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Known lists the endpoints that the kernel has, whoever knows of them: from
// the interfaces' aliases and the firewall's sets. Their ContainerNetns is
// empty; an address that the sets do not have is invalid.
func (n *Network) Known(ctx context.Context) ([]Endpoint, error) {
	links, err := dump(n.links.LinkList)
	if err != nil {
		return nil, fmt.Errorf("cannot list the interfaces: %w", err)
	}
	addrs, public := map[string]netip.Addr{}, map[netip.Addr]uint16{}
	for _, family := range families {
		l, err := n.listTable(ctx, family)
		if err != nil {
			return nil, err
		}
		for _, element := range l.elements["ports"] {
			parts := strings.Split(element, " . ")
			if addr, err := netip.ParseAddr(parts[len(parts)-1]); err == nil {
				addrs[parts[0]] = addr
			}
		}
		for _, element := range l.elements["public"] {
			addr, port, _ := strings.Cut(element, " . ")
			if a, err := netip.ParseAddr(addr); err == nil {
				if p, err := strconv.ParseUint(port, 10, 16); err == nil {
					public[a] = uint16(p)
				}
			}
		}
	}
	var all []Endpoint
	for _, l := range links {
		name, id := l.Attrs().Name, l.Attrs().Alias
		if _, veth := l.(*netlink.Veth); !veth || hostEnd(id) != name {
			continue
		}
		all = append(all, Endpoint{ID: id, Addr: addrs[name], PublicPort: public[addrs[name]]})
	}
	return all, nil
}

// Identify reports whether the namespace at path is the one that an endpoint
// was attached to: its eth0 is the other end of the endpoint's host end. The
// kernel's number for the namespace decides; interfaces of another server's
// containers may have the same numbers and MACs.
func (n *Network) Identify(path string, e Endpoint) bool {
	port, err := n.links.LinkByName(hostEnd(e.ID))
	if err != nil {
		return false
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return false
	}
	defer ns.Close()
	id, err := n.links.GetNetNsIdByFd(int(ns))
	if err != nil || id < 0 || id != port.Attrs().NetNsID {
		return false
	}
	link, _, err := lookInside(ns)
	return err == nil && link != nil && isPair(port, link)
}
