package resolver

import (
	"context"
	"encoding/binary"
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

// handle answers one message. Either it returns the reply at once (nil for a
// message that deserves none), or it returns forward, which asks an upstream
// and returns the reply; forward may take seconds and may be called from
// another goroutine. packet is not kept.
func (r *Resolver) handle(packet []byte, source netip.Addr, tcp bool) (reply []byte, forward func(context.Context) []byte) {
	// One process serves the names of everybody: a message that finds a bug
	// in a parser must cost its sender an answer, and nobody else anything.
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("A DNS message broke the resolver", "source", source, "panic", p, "stack", string(debug.Stack()))
			reply, forward = nil, nil
		}
	}()
	// Shorter than a header, or itself an answer: replying could start a
	// loop between two servers.
	if len(packet) < 12 || packet[2]&0x80 != 0 {
		return nil, nil
	}
	if opcode := int(packet[2]>>3) & 0xf; opcode != dns.OpcodeQuery {
		return refuseRaw(packet, dns.RcodeNotImplemented), nil
	}
	query := new(dns.Msg)
	if err := query.Unpack(packet); err != nil || len(query.Question) != 1 {
		return refuseRaw(packet, dns.RcodeFormatError), nil
	}
	msg, limit := r.begin(query, tcp)
	if msg.Rcode == dns.RcodeSuccess && !r.answerInside(msg, source) {
		return nil, func(ctx context.Context) []byte {
			r.forward(ctx, query, msg, source)
			return r.pack(msg, limit)
		}
	}
	return r.pack(msg, limit), nil
}

// begin makes the reply to query, with an error code in it when the question
// is of a kind that gets no answer, and says how large it may become.
func (r *Resolver) begin(query *dns.Msg, tcp bool) (msg *dns.Msg, limit int) {
	msg = new(dns.Msg)
	msg.SetReply(query)
	msg.RecursionAvailable = true
	msg.Compress = true
	limit = minUDP
	if tcp {
		limit = maxTCP
	}
	if opt := query.IsEdns0(); opt != nil {
		msg.SetEdns0(maxUDP, opt.Do())
		if !tcp {
			limit = min(max(int(opt.UDPSize()), minUDP), maxUDP)
		}
		if opt.Version() != 0 {
			msg.Rcode = dns.RcodeBadVers
			return msg, limit
		}
	}
	q := query.Question[0]
	if q.Qclass != dns.ClassINET || q.Qtype == dns.TypeNone || q.Qtype == dns.TypeOPT ||
		q.Qtype >= 128 && q.Qtype < dns.TypeANY {
		// Other classes, zone transfers and the other meta types.
		msg.Rcode = dns.RcodeRefused
	}
	return msg, limit
}

// pack encodes a reply and cuts it to limit, with TC set, when it is larger.
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

// refuseRaw replies with an error code to a message that may not be
// readable beyond its header.
func refuseRaw(packet []byte, rcode int) []byte {
	out := make([]byte, 12)
	copy(out, packet[:2])
	out[2] = 0x80 | packet[2]&0x79 // an answer; opcode and RD as asked
	out[3] = byte(rcode)
	binary.BigEndian.PutUint16(out[4:], 0)
	return out
}
