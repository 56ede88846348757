package outside

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Refusal says why the rules let no container connect by eth0 to an address
// and port, and what to do; "" when they do. protocol is "tcp" or "udp". It
// follows the chains input and forward of rules.go, which a test compares; other
// firewalls may still be in the way.
func (n *Network) Refusal(protocol string, to netip.AddrPort) (string, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return n.links.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return "", fmt.Errorf("cannot list the machine's addresses: %w", err)
	}
	own := slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
		addr, ok := netip.AddrFromSlice(a.IP.To4())
		return ok && addr == to.Addr()
	})
	in := func(p netip.Prefix) bool { return p.Contains(to.Addr()) }
	switch {
	case own:
		return n.refusalOfNode(protocol, to), nil
	case in(n.cfg.Prefix):
		return fmt.Sprintf("%s is on eth0 of a container, and containers never reach each other there; use a name of the private network", to.Addr()), nil
	case in(privatePrefix):
		return fmt.Sprintf("%s is an address of private networks, which have no way out", to.Addr()), nil
	case slices.ContainsFunc(metadata, in):
		return fmt.Sprintf("containers do not reach %s, where clouds tell a machine its secrets; give the app what it needs in its variables", to.Addr()), nil
	case slices.ContainsFunc(surroundings, in) && !slices.ContainsFunc(n.cfg.AllowPrivate, in):
		return fmt.Sprintf("containers reach public addresses only; ask the operator for --allow-private %s/32", to.Addr()), nil
	}
	return "", nil
}

// refusalOfNode is about addresses of the machine itself.
func (n *Network) refusalOfNode(protocol string, to netip.AddrPort) string {
	reached := []string{"the resolver " + n.Gateway().String()}
	passes := to == netip.AddrPortFrom(n.Gateway(), 53)
	for _, p := range n.cfg.Public {
		if p.Addr().IsUnspecified() || p.Addr() == to.Addr() {
			reached = append(reached, fmt.Sprintf("TCP port %d", p.Port()))
			passes = passes || protocol == "tcp" && p.Port() == to.Port()
		}
	}
	if passes {
		return ""
	}
	return fmt.Sprintf("%s is the machine itself, of which containers reach %s only; run what is wanted there as an app, or on another machine", to.Addr(), strings.Join(reached, " and "))
}
