package resolver

import (
	"context"
	"net/netip"
	"runtime/debug"

	"github.com/miekg/dns"
)

// Sizes of answers over UDP, in bytes.
const (
	// minUDP is what every client takes (RFC 1035).
	minUDP = 512
	// maxUDP is what is advertised and never exceeded, so that no answer is
	// fragmented (DNS flag day 2020).
	maxUDP = 1232
	maxTCP = dns.MaxMsgSize
)

// handler answers messages one after the other, with memory of its own.
type handler struct {
	*Resolver
	tcp bool
	q   question
}

// handle answers one message. Either it returns the reply at once, in buf if
// that is large enough (nil for a message that deserves none), or it returns
// forward, which asks an upstream and returns the reply; forward may take
// seconds and may be called from another goroutine. packet is not kept.
func (h *handler) handle(packet []byte, source netip.Addr, buf []byte) (reply []byte, forward func(context.Context) []byte) {
	defer h.survive(source, &reply)
	// Shorter than a header, or itself an answer: replying could start a
	// loop between two servers.
	if len(packet) < headerSize || packet[2]&0x80 != 0 {
		return nil, nil
	}
	if opcode := int(packet[2]>>3) & 0xf; opcode != dns.OpcodeQuery {
		return refuse(buf, packet, dns.RcodeNotImplemented), nil
	}
	if !h.q.parse(packet) {
		return refuse(buf, packet, dns.RcodeFormatError), nil
	}
	limit := h.q.limit(h.tcp)
	out := begin(buf, &h.q, limit)
	if out.rcode = h.q.objection(); out.rcode != dns.RcodeSuccess || h.answerInside(&out, source) {
		return out.finish(), nil
	}
	if !h.forwards.enter(source) {
		out.rcode = dns.RcodeServerFailure
		return out.finish(), nil
	}
	query := new(dns.Msg)
	if err := query.Unpack(packet); err != nil {
		h.forwards.leave(source)
		return refuse(buf, packet, dns.RcodeFormatError), nil
	}
	r := h.Resolver
	return nil, func(ctx context.Context) (reply []byte) {
		defer r.forwards.leave(source)
		defer r.survive(source, &reply)
		return r.pack(r.forward(ctx, query), limit)
	}
}

// survive keeps a message that finds a bug from ending the process, which
// serves the names of everybody: it costs its sender the answer.
func (r *Resolver) survive(source netip.Addr, reply *[]byte) {
	if p := recover(); p != nil {
		r.log.Error("A DNS message broke the resolver", "source", source, "panic", p, "stack", string(debug.Stack()))
		*reply = nil
	}
}

// limit is how large the reply may become.
func (q *question) limit(tcp bool) int {
	switch {
	case tcp:
		return maxTCP
	case q.edns:
		return min(max(q.udpSize, minUDP), maxUDP)
	}
	return minUDP
}

// objection is an error code for the kinds of questions that get no answer:
// other classes, zone transfers and the other meta types.
func (q *question) objection() int {
	switch {
	case q.edns && q.version != 0:
		return dns.RcodeBadVers
	case q.class != dns.ClassINET, q.rrtype == dns.TypeNone, q.rrtype == dns.TypeOPT,
		q.rrtype >= 128 && q.rrtype < dns.TypeANY:
		return dns.RcodeRefused
	}
	return dns.RcodeSuccess
}

// pack encodes a forwarded reply and cuts it to limit, with TC set, when it
// is larger.
func (r *Resolver) pack(msg *dns.Msg, limit int) []byte {
	msg.Truncate(limit)
	out, err := msg.Pack()
	if err == nil && len(out) <= limit {
		return out
	}
	r.log.Warn("Cannot encode a DNS answer", "question", msg.Question[0].Name, "error", err)
	failed := new(dns.Msg)
	failed.SetRcode(&dns.Msg{MsgHdr: msg.MsgHdr, Question: msg.Question}, dns.RcodeServerFailure)
	if out, err = failed.Pack(); err != nil {
		return nil
	}
	return out
}

// refuse replies with an error code to a message that may not be readable
// beyond its header.
func refuse(buf, packet []byte, rcode int) []byte {
	// An answer; id, opcode and RD as asked.
	return append(buf[:0], packet[0], packet[1], 0x80|packet[2]&0x79, byte(rcode), 0, 0, 0, 0, 0, 0, 0, 0)
}
