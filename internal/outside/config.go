package outside

import (
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// privatePrefix must never be routed by the node: it exists in private
// networks only (hole b of DESIGN.md).
var privatePrefix = netip.MustParsePrefix("10.240.0.0/22")

// linkLocal has the address at which most clouds tell a machine its secrets.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// metadata are all of those: linkLocal, and what Azure and Alibaba have, which
// is in a range that an operator may allow.
var metadata = []netip.Prefix{linkLocal, netip.MustParsePrefix("168.63.129.16/32"), netip.MustParsePrefix("100.100.100.200/32")}

// surroundings are the ranges in which a machine's own network may be.
var surroundings = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
}

// What one container may take of what all share.
const (
	// maxConnections are those open at the same time, through the node or to
	// it. The machine's table has room for 65536 or more.
	maxConnections = 4096
	// maxQuestions are those of DNS by UDP, per second. A connection made by
	// name takes two (IPv4 and IPv6), and many runtimes remember none. The
	// resolver has a limit of its own, above this one, for where it is without
	// these rules.
	maxQuestions = 5000
	// maxQuestionsAtOnce must be less than the resolver's socket holds.
	maxQuestionsAtOnce = 1000
)

// special ranges mean something else than a network of containers.
var special = []struct {
	prefix netip.Prefix
	is     string
}{
	{privatePrefix, "the range of private networks"},
	{linkLocal, "the link-local range"},
	{netip.MustParsePrefix("0.0.0.0/8"), "no range of hosts"},
	{netip.MustParsePrefix("127.0.0.0/8"), "the loopback range"},
	{netip.MustParsePrefix("224.0.0.0/3"), "the multicast and reserved range"},
}

const (
	minMTU = 576
	maxMTU = 65535
)

// A bridge's name goes into the rules as it is.
var bridgeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$`)

func (c *Config) complete() {
	if c.Bridge == "" {
		c.Bridge = DefaultBridge
	}
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Prefix = c.Prefix.Masked()
	c.AllowPrivate = slices.Clone(c.AllowPrivate)
	c.Public = slices.Clone(c.Public)
	for i, p := range c.AllowPrivate {
		c.AllowPrivate[i] = p.Masked()
	}
}

func (c Config) validate() error {
	if !c.Prefix.IsValid() || !c.Prefix.Addr().Is4() || c.Prefix.Bits() < 8 || c.Prefix.Bits() > 29 {
		return fmt.Errorf("outside network %s: an IPv4 range from /8 to /29 is needed, such as 172.17.0.0/16", c.Prefix)
	}
	for _, s := range special {
		if s.prefix.Overlaps(c.Prefix) {
			return fmt.Errorf("the outside network %s overlaps %s, %s: choose another range with --outside-prefix, for instance 172.17.0.0/16", c.Prefix, s.prefix, s.is)
		}
	}
	if !bridgeName.MatchString(c.Bridge) || strings.HasPrefix(c.Bridge, portPrefix) {
		return fmt.Errorf("the bridge cannot be called %q: use 1 to 15 letters, digits, dashes and dots, not beginning with %s", c.Bridge, portPrefix)
	}
	if c.MTU < minMTU || c.MTU > maxMTU {
		return fmt.Errorf("the outside network's MTU of %d is not between %d and %d", c.MTU, minMTU, maxMTU)
	}
	for _, p := range c.AllowPrivate {
		if !p.IsValid() || !p.Addr().Is4() || p.Overlaps(c.Prefix) || p.Overlaps(privatePrefix) || p.Overlaps(linkLocal) {
			return fmt.Errorf("containers cannot be allowed to reach %s: it must be an IPv4 range such as 192.168.1.0/24, without any of %s, %s and %s", p, c.Prefix, privatePrefix, linkLocal)
		}
	}
	for _, p := range c.Public {
		if !p.Addr().Is4() || p.Port() == 0 {
			return fmt.Errorf("%s cannot be a public socket of the node: an IPv4 address and a port are needed", p)
		}
	}
	return nil
}
