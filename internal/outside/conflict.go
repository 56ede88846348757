package outside

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultBits: a route to more than a /8 is a default route in disguise, as
// VPN clients make them (0.0.0.0/1 and 128.0.0.0/1), and no conflict.
const defaultBits = 8

// use is a range that the node has for something else.
type use struct {
	prefix netip.Prefix
	by     string
}

// checkConflicts refuses a range that the node uses for something else.
func (n *Network) checkConflicts() error {
	uses, err := n.uses()
	if err != nil {
		return err
	}
	for _, u := range uses {
		if u.prefix.Overlaps(n.cfg.Prefix) {
			return fmt.Errorf("the outside network %s overlaps %s, which %s has: choose another range with --outside-prefix%s",
				n.cfg.Prefix, u.prefix, u.by, suggestion(uses))
		}
	}
	return nil
}

// uses lists addresses, also of interfaces that are down, then routes of all
// tables; not those of our bridge.
func (n *Network) uses() ([]use, error) {
	links, err := dump(n.links.LinkList)
	if err != nil {
		return nil, fmt.Errorf("cannot list the interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	var uses []use
	add := func(dst *net.IPNet, link int) {
		if dst == nil || names[link] == n.cfg.Bridge {
			return
		}
		addr, ok := netip.AddrFromSlice(dst.IP.To4())
		bits, _ := dst.Mask.Size()
		if !ok || bits < defaultBits {
			return
		}
		by := "a route of this machine"
		if names[link] != "" {
			by = "the interface " + names[link]
		}
		uses = append(uses, use{netip.PrefixFrom(addr, bits).Masked(), by})
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return n.links.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("cannot list the addresses: %w", err)
	}
	for _, a := range addrs {
		add(a.IPNet, a.LinkIndex)
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return n.links.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the routes: %w", err)
	}
	for _, r := range routes {
		link := r.LinkIndex
		if link == 0 && len(r.MultiPath) > 0 {
			link = r.MultiPath[0].LinkIndex
		}
		add(r.Dst, link)
	}
	return uses, nil
}

// suggestion names a range that is free.
func suggestion(uses []use) string {
	for i := byte(18); i < 32; i++ {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, i, 0, 0}), 16)
		free := true
		for _, u := range uses {
			free = free && !u.prefix.Overlaps(p)
		}
		if free {
			return ", for instance " + p.String()
		}
	}
	return ""
}

// checkOwner refuses to replace the rules of a network on another bridge:
// containers there would be without any.
func (n *Network) checkOwner() error {
	chains, err := n.chains(context.Background())
	if err != nil {
		return err
	}
	for _, c := range chains {
		if c.Table != table || c.Family != "ip" || c.Name != "input" {
			continue
		}
		out, err := n.nftOutput(context.Background(), "list", "chain", "ip", table, "input")
		if err != nil {
			return fmt.Errorf("cannot read the firewall rules that are there: %w", err)
		}
		var remove []string
		for _, family := range families {
			remove = append(remove, "nft delete table "+family+" "+table)
		}
		if strings.Contains(string(out), "iifname") && !strings.Contains(string(out), fmt.Sprintf("%q", n.cfg.Bridge)) {
			return fmt.Errorf("an outside network on another bridge than %s is in this network namespace, and it can hold only one: use the same bridge, or remove the other (%s)", n.cfg.Bridge, strings.Join(remove, "; "))
		}
	}
	return nil
}
