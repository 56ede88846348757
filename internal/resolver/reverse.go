package resolver

import (
	"net/netip"

	"github.com/atollhq/atoll/internal/platform"
)

var privateZone, reverseZone = mustWire(platform.PrivateZone), mustWire("in-addr.arpa.")

func mustWire(name string) string {
	wire, ok := wireName(name)
	if !ok {
		panic(name + " is no name")
	}
	return wire
}

func (q *question) inPrivateZone() bool {
	return q.labels >= 1 && string(q.last(1)) == privateZone
}

// inReverseZone reports whether the name is below in-addr.arpa.
func (q *question) inReverseZone() bool {
	return q.labels > 2 && string(q.last(2)) == reverseZone
}

// reverseName is a name below in-addr.arpa. as the range of addresses it
// stands for: a whole address has 4 octets, a name with fewer labels fewer.
type reverseName struct {
	octets [4]byte
	n      int
	// extra: there are labels in front of the octets.
	extra bool
}

// reverse reads the name; see inReverseZone.
func (q *question) reverse() (name reverseName) {
	for name.n < 4 && name.n < q.labels-2 {
		start := int(q.starts[q.labels-3-name.n])
		octet, ok := parseOctet(q.lower[start+1 : start+1+int(q.lower[start])])
		if !ok {
			break
		}
		name.octets[name.n] = octet
		name.n++
	}
	name.extra = q.labels-2 > name.n
	return name
}

// parseOctet reads a number below 256 without leading zeros.
func parseOctet(label []byte) (octet byte, ok bool) {
	if len(label) == 0 || len(label) > 3 || label[0] == '0' && len(label) > 1 {
		return 0, false
	}
	n := 0
	for _, c := range label {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return byte(n), n < 256
}

// local reports whether the name is never asked of others, and how many
// labels the zone has that it is in. Those are the ranges that mean something
// else on every network (RFC 6303): what is behind such an address upstream
// is not what is behind it here, and nobody upstream has to know which ones
// are used here.
func (name reverseName) local(outside netip.Prefix) (labels int, ok bool) {
	o := name.octets
	switch {
	case name.n >= 1 && (o[0] == 10 || o[0] == 127):
		return 3, true
	case name.n >= 2 && (o[0] == 172 && o[1]&0xf0 == 16 || o[0] == 192 && o[1] == 168 || o[0] == 169 && o[1] == 254):
		return 4, true
	}
	// An outside network of other addresses.
	return 2 + max((outside.Bits()+7)/8, 1), 8*name.n >= outside.Bits() && outside.Contains(netip.AddrFrom4(o))
}

// branch reports whether the name has no record but addresses of the private
// range below it (an empty non-terminal, RFC 8020).
func (name reverseName) branch() bool {
	p := netip.PrefixFrom(netip.AddrFrom4(name.octets), 8*name.n)
	return name.n < 4 && !name.extra && p.Overlaps(platform.NetworkPrefix)
}
