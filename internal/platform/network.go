package platform

import "net/netip"

// NetworkPrefix is the range of every private network (PN-8).
var NetworkPrefix = netip.MustParsePrefix("10.240.0.0/22")

// First and last address a container may have, and how many there are
// (PN-9). There is no gateway (architecture, decision 5).
var (
	FirstPrivateAddr = netip.MustParseAddr("10.240.0.1")
	LastPrivateAddr  = netip.MustParseAddr("10.240.3.254")
)

// MaxMembers is how many containers fit into a private network.
const MaxMembers = 1022

// Interface names inside a container.
const (
	OutsideInterface = "eth0"
	PrivateInterface = "pn0"
)

// NearlyFull reports whether a network with that many members is to be warned
// about: 80 % of its addresses are taken.
func NearlyFull(members int) bool { return members*100 >= MaxMembers*80 }

// HasRoom reports whether a warning is over. It leaves a gap to NearlyFull, in
// which replacements can go up and down without another warning for each.
func HasRoom(members int) bool { return members*100 < MaxMembers*70 }
