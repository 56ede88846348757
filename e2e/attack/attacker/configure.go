package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/atollhq/atoll/e2e/attack/order"
)

// configure changes the interfaces of the namespace, as `ip` would: the
// program has no other file with it that could.
func configure(c order.Configure) error {
	for _, line := range c.Lines {
		if err := configureLine(strings.Fields(line)); err != nil {
			return fmt.Errorf("cannot do %q: %w", line, err)
		}
	}
	return nil
}

func configureLine(words []string) error {
	if len(words) < 3 {
		return fmt.Errorf("this says too little")
	}
	options := map[string]string{}
	for i := 3; i+1 < len(words); i += 2 {
		options[words[i]] = words[i+1]
	}
	if words[0] == "link" {
		return changeLink(words[2], options)
	}
	link, err := netlink.LinkByName(options["dev"])
	if err != nil {
		return err
	}
	switch words[0] {
	case "addr":
		return changeAddress(link, words[1], words[2])
	case "route":
		return changeRoute(link, words[1], words[2], options)
	case "neigh":
		return changeNeighbour(link, words[1], words[2], options["lladdr"])
	}
	return fmt.Errorf("nothing is called %q", words[0])
}

func changeLink(name string, options map[string]string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	mac, err := net.ParseMAC(options["address"])
	if err != nil {
		return err
	}
	return netlink.LinkSetHardwareAddr(link, mac)
}

func changeAddress(link netlink.Link, verb, cidr string) error {
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	if verb == "del" {
		return netlink.AddrDel(link, addr)
	}
	return netlink.AddrReplace(link, addr)
}

func changeRoute(link netlink.Link, verb, cidr string, options map[string]string) error {
	_, dst, err := net.ParseCIDR(cidr)
	if err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Gw: net.ParseIP(options["via"]), Src: net.ParseIP(options["src"])}
	if route.Gw == nil {
		route.Scope = netlink.SCOPE_LINK
	}
	if verb == "del" {
		return netlink.RouteDel(route)
	}
	return netlink.RouteReplace(route)
}

func changeNeighbour(link netlink.Link, verb, addr, lladdr string) error {
	neigh := &netlink.Neigh{LinkIndex: link.Attrs().Index, IP: net.ParseIP(addr), State: netlink.NUD_PERMANENT}
	if verb == "del" {
		return netlink.NeighDel(neigh)
	}
	var err error
	if neigh.HardwareAddr, err = net.ParseMAC(lladdr); err != nil {
		return err
	}
	return netlink.NeighSet(neigh)
}
