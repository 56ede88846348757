package resolver

import (
	"net/netip"
	"strconv"
	"strings"
)

const reverseZone = ".in-addr.arpa."

// parseReverse reads a reverse name of IPv4 into the range it stands for: a
// whole address has 32 bits, a name with fewer labels fewer. extra says that
// there were labels before the address. ok is false for any other name.
func parseReverse(name string) (p netip.Prefix, extra, ok bool) {
	rest, found := strings.CutSuffix(strings.ToLower(name), reverseZone)
	if !found || rest == "" {
		return p, false, false
	}
	labels := strings.Split(rest, ".")
	var octets [4]byte
	n := 0
	for n < 4 && n < len(labels) {
		l := labels[len(labels)-1-n]
		v, err := strconv.ParseUint(l, 10, 8)
		if err != nil || len(l) > 1 && l[0] == '0' {
			break
		}
		octets[n] = byte(v)
		n++
	}
	if n == 0 {
		return p, false, false
	}
	return netip.PrefixFrom(netip.AddrFrom4(octets), 8*n), n < len(labels), true
}

// within reports whether all of inner lies in outer.
func within(inner, outer netip.Prefix) bool {
	return inner.Bits() >= outer.Bits() && outer.Contains(inner.Addr())
}

// reverseApex is the owner of the SOA for reverse names in p: the name of
// its whole octets.
func reverseApex(p netip.Prefix) string {
	octets := p.Addr().As4()
	apex := reverseZone[1:]
	for i := range max(p.Bits()/8, 1) {
		apex = strconv.Itoa(int(octets[i])) + "." + apex
	}
	return apex
}
