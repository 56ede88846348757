package resolver

import (
	"net/netip"

	"github.com/miekg/dns"
)

// The labels of the zones answered here, for their SOA records.
const (
	privateLabels = 1 // internal.
	reverseLabels = 3 // 10.in-addr.arpa. and its like, see local
)

// answerInside writes the reply to a question about names that belong to the
// platform. It returns false for outside names.
func (r *Resolver) answerInside(out *reply, source netip.Addr) bool {
	q := out.q
	switch {
	case q.inPrivateZone():
		out.buf[flagsAt] |= authority
		r.answerPrivate(out, source)
	case q.inReverseZone():
		addr := q.reverse()
		labels, local := addr.local(r.outside)
		if !local {
			return false
		}
		out.buf[flagsAt] |= authority
		r.answerReverse(out, source, addr, labels)
	default:
		return false
	}
	return true
}

func (r *Resolver) answerPrivate(out *reply, source netip.Addr) {
	q := out.q
	addrs, exists := r.current().lookup(source, q.key())
	switch {
	case !exists:
		out.negative(dns.RcodeNameError, privateLabels)
	case q.rrtype == dns.TypeSOA && q.labels == privateLabels:
		out.soa(1, privateLabels)
	// ANY may be answered with a part of what there is (RFC 8482); the
	// addresses are all there ever is.
	case len(addrs) > 0 && (q.rrtype == dns.TypeA || q.rrtype == dns.TypeANY):
		out.addresses(addrs)
	default:
		out.negative(dns.RcodeSuccess, privateLabels)
	}
}

// answerReverse answers for a name below the reverse zone with that many
// labels.
func (r *Resolver) answerReverse(out *reply, source netip.Addr, addr reverseName, labels int) {
	q := out.q
	owner, exists := r.current().owner(source, addr)
	switch {
	case q.rrtype == dns.TypeSOA && q.labels == labels:
		out.soa(1, labels)
	case !exists && q.labels > labels:
		out.negative(dns.RcodeNameError, labels)
	case owner != "" && (q.rrtype == dns.TypePTR || q.rrtype == dns.TypeANY):
		out.pointer(owner)
	default:
		out.negative(dns.RcodeSuccess, labels)
	}
}
