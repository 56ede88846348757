package resolver

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/internal/platform"
)

// ttl is short because the source of truth is in memory and local: what is
// cached downstream only delays clients noticing a change (PN-25). It is
// also how long a client may remember that a name does not exist.
const ttl = uint32(platform.NameTTL / 1e9)

// answerInside fills reply for a question about names that belong to the
// platform. It returns false, and leaves reply alone, for outside names.
func (r *Resolver) answerInside(reply *dns.Msg, source netip.Addr) bool {
	q := reply.Question[0]
	if platform.InPrivateZone(q.Name) {
		reply.Authoritative = true
		f := r.current().lookup(source, q.Name)
		if !f.exists {
			negative(reply, dns.RcodeNameError, platform.PrivateZone)
			return true
		}
		switch {
		case q.Qtype == dns.TypeSOA && strings.EqualFold(q.Name, platform.PrivateZone):
			reply.Answer = []dns.RR{soa(platform.PrivateZone)}
		// ANY may be answered with a part of what there is (RFC 8482); the
		// addresses are all there ever is.
		case len(f.addrs) > 0 && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY):
			reply.Answer = addresses(q.Name, f.addrs)
		default:
			negative(reply, dns.RcodeSuccess, platform.PrivateZone)
		}
		return true
	}
	p, extra, ok := parseReverse(q.Name)
	if !ok {
		return false
	}
	switch {
	case within(p, platform.NetworkPrefix):
		reply.Authoritative = true
		r.answerReverse(reply, source, p, extra)
	case within(p, r.outside):
		reply.Authoritative = true
		negative(reply, dns.RcodeNameError, reverseApex(r.outside))
	default:
		return false
	}
	return true
}

// answerReverse fills reply for a reverse name inside the private range.
func (r *Resolver) answerReverse(reply *dns.Msg, source netip.Addr, p netip.Prefix, extra bool) {
	q := reply.Question[0]
	apex := reverseApex(platform.NetworkPrefix)
	if !p.IsSingleIP() && !extra {
		negative(reply, dns.RcodeSuccess, apex)
		return
	}
	name := ""
	if p.IsSingleIP() && !extra {
		name = r.current().owner(source, p.Addr())
	}
	switch {
	case name == "":
		negative(reply, dns.RcodeNameError, apex)
	case q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY:
		reply.Answer = []dns.RR{&dns.PTR{Hdr: header(q.Name, dns.TypePTR), Ptr: name}}
	default:
		negative(reply, dns.RcodeSuccess, apex)
	}
}

// addresses makes A records in a random order: clients that take the first
// one spread over all.
func addresses(name string, addrs []netip.Addr) []dns.RR {
	addrs = slices.Clone(addrs)
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	rrs := make([]dns.RR, 0, len(addrs))
	for _, a := range addrs {
		rrs = append(rrs, &dns.A{Hdr: header(name, dns.TypeA), A: a.AsSlice()})
	}
	return rrs
}

// negative says that there is no such name (NXDOMAIN) or no such data
// (success), with the SOA that limits for how long it may be remembered.
func negative(reply *dns.Msg, rcode int, apex string) {
	reply.Rcode = rcode
	reply.Ns = []dns.RR{soa(apex)}
}

func soa(apex string) dns.RR {
	return &dns.SOA{
		Hdr:     header(apex, dns.TypeSOA),
		Ns:      "ns." + platform.PrivateZone,
		Mbox:    "hostmaster." + platform.PrivateZone,
		Serial:  1,
		Refresh: ttl, Retry: ttl, Expire: ttl, Minttl: ttl,
	}
}

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}
