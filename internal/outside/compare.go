package outside

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// Finding is one thing that is not as Set leaves it.
type Finding struct {
	// Endpoint is the id of the container it is about, "" when it is the
	// network as a whole.
	Endpoint string
	// Where is the interface, firewall table or setting concerned.
	Where string
	// What is wrong, in words.
	What string
	// Stray says that this is an interface which no endpoint has: Set removes
	// it.
	Stray bool
}

// Compare looks at everything that Set would make, and changes nothing: an
// empty answer means that Set would change nothing either. The cost is one
// list of each kind for the node and for every container, and two runs of nft.
func (n *Network) Compare(ctx context.Context, endpoints []Endpoint) ([]Finding, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	found, err := n.compareNode()
	if err != nil {
		return nil, err
	}
	ports, err := n.listPorts()
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, e := range endpoints {
		wanted[hostEnd(e.ID)] = true
		found = append(found, n.compareEndpoint(ports, e)...)
	}
	for name, link := range ports.links {
		if _, veth := link.(*netlink.Veth); veth && strings.HasPrefix(name, portPrefix) && !wanted[name] {
			found = append(found, Finding{Endpoint: link.Attrs().Alias, Where: name, What: "no container has this interface", Stray: true})
		}
	}
	rules, err := n.compareRules(ctx, endpoints)
	return append(found, rules...), err
}

// compareNode looks at the bridge and at settings of the node.
func (n *Network) compareNode() (found []Finding, err error) {
	add := func(where, what string, args ...any) {
		found = append(found, Finding{Where: where, What: fmt.Sprintf(what, args...)})
	}
	link, err := n.links.LinkByName(n.cfg.Bridge)
	if isMissing(err) {
		add(n.cfg.Bridge, "the bridge is gone")
		return found, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look at the bridge %s: %w", n.cfg.Bridge, err)
	}
	a := link.Attrs()
	if a.Index != n.bridge {
		add(n.cfg.Bridge, "the bridge was made anew by somebody else")
	}
	if a.Flags&net.FlagUp == 0 {
		add(n.cfg.Bridge, "the bridge is down")
	}
	if a.MTU != n.cfg.MTU {
		add(n.cfg.Bridge, "the bridge's MTU is %d instead of %d", a.MTU, n.cfg.MTU)
	}
	if mac := hardwareAddr(n.Gateway()); a.HardwareAddr.String() != mac.String() {
		add(n.cfg.Bridge, "the bridge's MAC is %s instead of %s", a.HardwareAddr, mac)
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return n.links.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("cannot list the addresses of the bridge %s: %w", n.cfg.Bridge, err)
	}
	if !hasAddr(addrs, n.gatewayNet()) {
		add(n.cfg.Bridge, "the bridge has no address %s", n.gatewayNet())
	}
	err = namespace.Do(n.ns, func() error {
		var sysctl namespace.Settings
		defer sysctl.Close()
		for _, s := range n.nodeSettings() {
			if now, differs := s.differs(&sysctl); differs {
				add(s.name, "it is %s instead of %s", now, s.value)
			}
		}
		return nil
	})
	return found, err
}

// portList is what the node has of ports.
type portList struct {
	links map[string]netlink.Link
	flags map[int]map[uint16]byte
	macs  map[int][]string
	// ipv6 are the interfaces of ours on which IPv6 is on.
	ipv6 map[string]bool
}

func (n *Network) listPorts() (l portList, err error) {
	l = portList{links: map[string]netlink.Link{}, macs: map[int][]string{}, ipv6: map[string]bool{}}
	all, err := dump(n.links.LinkList)
	if err != nil {
		return l, fmt.Errorf("cannot list the interfaces: %w", err)
	}
	for _, link := range all {
		l.links[link.Attrs().Name] = link
	}
	entries, err := dump(func() ([]netlink.Neigh, error) { return n.links.NeighList(0, unix.AF_BRIDGE) })
	if err != nil {
		return l, fmt.Errorf("cannot list the MACs of the bridge: %w", err)
	}
	for _, e := range entries {
		if e.State&(unix.NUD_NOARP|unix.NUD_PERMANENT) != 0 {
			l.macs[e.LinkIndex] = append(l.macs[e.LinkIndex], e.HardwareAddr.String())
		}
	}
	err = namespace.Do(n.ns, func() (err error) {
		var sysctl namespace.Settings
		defer sysctl.Close()
		for name := range l.links {
			if strings.HasPrefix(name, portPrefix) {
				_, l.ipv6[name] = ipv6Off(name).differs(&sysctl)
			}
		}
		l.flags, err = portFlagsOfAll()
		return err
	})
	return l, err
}

// portFlagsOfAll lists the bridge flags of all ports of the thread's network
// namespace, by interface.
func portFlagsOfAll() (map[int]map[uint16]byte, error) {
	messages, err := dump(func() ([][]byte, error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
		return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the ports of the bridge: %w", err)
	}
	all := map[int]map[uint16]byte{}
	for _, m := range messages {
		info := nl.DeserializeIfInfomsg(m)
		attrs, err := nl.ParseRouteAttr(m[info.Len():])
		if err != nil {
			return nil, fmt.Errorf("cannot read the ports of the bridge: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type != unix.IFLA_PROTINFO|unix.NLA_F_NESTED {
				continue
			}
			nested, err := nl.ParseRouteAttr(a.Value)
			if err != nil {
				return nil, fmt.Errorf("cannot read the ports of the bridge: %w", err)
			}
			flags := map[uint16]byte{}
			for _, f := range nested {
				if len(f.Value) > 0 {
					flags[f.Attr.Type] = f.Value[0]
				}
			}
			all[int(info.Index)] = flags
		}
	}
	return all, nil
}

// compareEndpoint looks at both ends of an endpoint's interface.
func (n *Network) compareEndpoint(ports portList, e Endpoint) (found []Finding) {
	name := hostEnd(e.ID)
	add := func(where, what string, args ...any) {
		found = append(found, Finding{Endpoint: e.ID, Where: where, What: fmt.Sprintf(what, args...)})
	}
	link := ports.links[name]
	if link == nil {
		add(name, "the host end of its interface is gone")
		return found
	}
	a := link.Attrs()
	if a.MasterIndex != n.bridge {
		add(name, "it is no port of the bridge %s", n.cfg.Bridge)
	} else {
		for _, f := range portFlags {
			if got, known := ports.flags[a.Index][uint16(f.attr)]; !known || got != f.value {
				add(name, "the port's flag %q is %d instead of %d", f.name, got, f.value)
			}
		}
		if mac := hardwareAddr(e.Addr).String(); !contains(ports.macs[a.Index], mac) {
			add(name, "the bridge does not know its MAC %s", mac)
		}
	}
	if a.Flags&net.FlagUp == 0 {
		add(name, "it is down")
	}
	if a.Alias != e.ID {
		add(name, "its alias is %q instead of the container's id", a.Alias)
	}
	if ports.ipv6[name] {
		add(name, "IPv6 is on")
	}
	for _, what := range n.compareInside(link, e) {
		add(Interface, "%s", what)
	}
	return found
}

// compareInside looks at the container's end from within.
func (n *Network) compareInside(port netlink.Link, e Endpoint) (wrong []string) {
	ns, err := netns.GetFromPath(e.ContainerNetns)
	if err != nil {
		return []string{"cannot open its network namespace: " + err.Error()}
	}
	defer ns.Close()
	wrong, err = n.insideDiffers(ns, port, e)
	if err != nil {
		wrong = append(wrong, "cannot look into its network namespace: "+err.Error())
	}
	return wrong
}

// insideDiffers lists what is not as configure leaves it.
func (n *Network) insideDiffers(ns netns.NsHandle, port netlink.Link, e Endpoint) (wrong []string, err error) {
	link, ipv6, err := lookInside(ns)
	if err != nil {
		return nil, err
	}
	if link == nil {
		return []string{"the interface is gone"}, nil
	}
	a := link.Attrs()
	if !isPair(port, link) {
		return []string{"the interface is not the other end of " + port.Attrs().Name}, nil
	}
	if mac := hardwareAddr(e.Addr); a.HardwareAddr.String() != mac.String() {
		wrong = append(wrong, fmt.Sprintf("its MAC is %s instead of %s", a.HardwareAddr, mac))
	}
	if a.Flags&net.FlagUp == 0 {
		wrong = append(wrong, "it is down")
	}
	// The network's may have changed since: a container keeps its own.
	if want := port.Attrs().MTU; a.MTU != want {
		wrong = append(wrong, fmt.Sprintf("its MTU is %d instead of %d", a.MTU, want))
	}
	if ipv6 {
		wrong = append(wrong, "IPv6 is on")
	}
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return wrong, err
	}
	defer inside.Close()
	addrs, err := dump(func() ([]netlink.Addr, error) { return inside.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return wrong, err
	}
	want := n.containerNet(e)
	if !hasAddr(addrs, want) {
		wrong = append(wrong, fmt.Sprintf("it has no address %s", want))
	}
	for _, other := range addrs {
		if other.IPNet.String() != want.String() {
			wrong = append(wrong, fmt.Sprintf("it has the address %s, which is not the container's", other.IPNet))
		}
	}
	routes, err := dump(func() ([]netlink.Route, error) { return inside.RouteList(link, netlink.FAMILY_V4) })
	if err != nil {
		return wrong, err
	}
	if !n.hasDefault(routes) {
		wrong = append(wrong, fmt.Sprintf("the default route by %s is missing", n.Gateway()))
	}
	if !n.hasOnLink(routes) {
		wrong = append(wrong, fmt.Sprintf("the route to %s is missing", n.Gateway()))
	}
	return wrong, nil
}

// lookInside is a container's end of its interface, nil if it has none, and
// whether IPv6 is on there.
func lookInside(ns netns.NsHandle) (link netlink.Link, ipv6 bool, err error) {
	links, err := namespace.OpenLinks(ns)
	if err != nil {
		return nil, false, err
	}
	defer links.Close()
	return links.Link(Interface)
}

// setting is a file below /proc/sys.
type setting struct{ name, value string }

// forwarding makes the node a router.
const forwarding = "net/ipv4/ip_forward"

// nodeSettings are what the outside network relies on.
func (n *Network) nodeSettings() []setting {
	return []setting{
		{forwarding, "1"},
		{"net/ipv4/conf/" + n.cfg.Bridge + "/forwarding", "1"},
		// Nothing but our range may come from the bridge.
		{"net/ipv4/conf/" + n.cfg.Bridge + "/rp_filter", "1"},
		ipv6Off(n.cfg.Bridge),
	}
}

// ipv6Off is the setting that switches IPv6 off on an interface.
func ipv6Off(link string) setting { return setting{"net/ipv6/conf/" + link + "/disable_ipv6", "1"} }

// differs reads a setting. One that the kernel does not have (IPv6) is as it
// should be.
func (s setting) differs(sysctl *namespace.Settings) (now string, differs bool) {
	now, err := sysctl.Get(s.name)
	return now, err == nil && now != s.value
}

func (n *Network) gatewayNet() *net.IPNet {
	return &net.IPNet{IP: n.Gateway().AsSlice(), Mask: net.CIDRMask(n.cfg.Prefix.Bits(), 32)}
}

// containerNet is a container's address, with nothing of the range on its
// link: it has no neighbour but the gateway, so whom it sends to takes no place
// in the kernel's table of MACs, which all containers share.
func (n *Network) containerNet(e Endpoint) *net.IPNet { return host(e.Addr) }

func host(addr netip.Addr) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(32, 32)}
}

func (n *Network) hasDefault(routes []netlink.Route) bool {
	for _, r := range routes {
		if gw, ok := netip.AddrFromSlice(r.Gw.To4()); ok && gw == n.Gateway() && (r.Dst == nil || r.Dst.String() == "0.0.0.0/0") {
			return true
		}
	}
	return false
}

func (n *Network) hasOnLink(routes []netlink.Route) bool {
	for _, r := range routes {
		if r.Gw == nil && r.Dst != nil && r.Dst.String() == host(n.Gateway()).String() {
			return true
		}
	}
	return false
}

func hasAddr(addrs []netlink.Addr, want *net.IPNet) bool {
	for _, a := range addrs {
		if a.IPNet.String() == want.String() {
			return true
		}
	}
	return false
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
