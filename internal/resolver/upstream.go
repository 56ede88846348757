package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Times of forwarding. By the resolv.conf of containers, clients wait for 4 s
// (musl in all, others at each attempt): well before they should have an
// answer, if only SERVFAIL.
const (
	perQuestion = 2 * time.Second
	// headStart is how long an upstream is waited for before the next one is
	// asked as well. The first answer counts, also if it is the slow one's.
	headStart = 600 * time.Millisecond
	// restAfterFailure is how long an upstream that did not answer is asked
	// last, so that not every question waits for a dead one.
	restAfterFailure = 10 * time.Second
)

// maxUpstreamUDP is more than what upstreams are told that fits, for those who
// do not listen: it is what many send at most.
const maxUpstreamUDP = 4096

// upstreams are the resolvers for outside names. Answers are not cached.
type upstreams struct {
	list []*upstream
}

type upstream struct {
	addr netip.AddrPort
	// restUntil is in nanoseconds since 1970, 0 while it answers.
	restUntil atomic.Int64
}

func newUpstreams(addrs []netip.AddrPort) *upstreams {
	u := &upstreams{}
	for _, a := range addrs {
		u.list = append(u.list, &upstream{addr: a})
	}
	return u
}

// SetUpstreams replaces the resolvers for outside names. Questions that are
// under way end with those before.
func (r *Resolver) SetUpstreams(addrs []netip.AddrPort) error {
	for _, up := range addrs {
		if slices.Contains(r.listen, up) {
			return fmt.Errorf("cannot use %s as upstream resolver: it is the address this resolver listens on, and questions would go round in circles", up)
		}
	}
	r.upstreams.Store(newUpstreams(addrs))
	return nil
}

// forward asks the upstreams for query and returns the reply to it, with
// SERVFAIL when none answered.
func (r *Resolver) forward(ctx context.Context, query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(query)
	reply.RecursionAvailable = true
	reply.Compress = true
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(maxUDP, opt.Do())
	}
	r.forwarded.Add(1)
	answer, err := r.upstreams.Load().ask(ctx, query)
	if err != nil {
		r.log.Debug("No upstream resolver answered", "question", query.Question[0].Name, "error", err)
	}
	if answer == nil {
		r.unanswered.Add(1)
		reply.Rcode = dns.RcodeServerFailure
		return reply
	}
	reply.Rcode = answer.Rcode
	reply.AuthenticatedData = answer.AuthenticatedData
	reply.Truncated = answer.Truncated
	reply.Answer, reply.Ns = answer.Answer, answer.Ns
	for _, rr := range answer.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			reply.Extra = append(reply.Extra, rr)
		}
	}
	return reply
}

// ask tries one upstream after the other, the next as soon as one has failed
// or used up its head start. An answer that says the upstream itself is in
// trouble is only used when no other has a better one.
func (u *upstreams) ask(ctx context.Context, query *dns.Msg) (*dns.Msg, error) {
	if len(u.list) == 0 {
		return nil, errors.New("there is no upstream resolver; name one in the server's resolv.conf")
	}
	ctx, cancel := context.WithTimeout(ctx, perQuestion)
	defer cancel()
	type outcome struct {
		answer *dns.Msg
		err    error
	}
	outcomes := make(chan outcome, len(u.list))
	waiting, asked := u.order(), 0
	next := func() {
		up := waiting[0]
		waiting = waiting[1:]
		asked++
		go func() {
			answer, err := up.ask(ctx, query)
			outcomes <- outcome{answer, err}
		}()
	}
	next()
	patience := time.NewTicker(headStart)
	defer patience.Stop()
	var troubled *dns.Msg
	var errs []error
	for {
		select {
		case <-patience.C:
		case o := <-outcomes:
			asked--
			switch {
			case o.err != nil:
				errs = append(errs, o.err)
			case o.answer.Rcode != dns.RcodeServerFailure && o.answer.Rcode != dns.RcodeRefused:
				return o.answer, nil
			case troubled == nil:
				troubled = o.answer
			}
		}
		if len(waiting) > 0 && ctx.Err() == nil {
			next()
		} else if asked == 0 {
			return troubled, errors.Join(errs...)
		}
	}
}

// order is the configured order with the resting upstreams last.
func (u *upstreams) order() []*upstream {
	now := time.Now().UnixNano()
	awake := make([]*upstream, 0, len(u.list))
	var resting []*upstream
	for _, up := range u.list {
		if up.restUntil.Load() > now {
			resting = append(resting, up)
		} else {
			awake = append(awake, up)
		}
	}
	return append(awake, resting...)
}

// ask asks one upstream by UDP, and by TCP when the answer does not fit. Each
// question has an id and a source port of its own, both random, so that an
// answer can't be forged blindly.
func (up *upstream) ask(ctx context.Context, query *dns.Msg) (answer *dns.Msg, err error) {
	began := time.Now()
	defer func() {
		switch {
		case err == nil:
			up.restUntil.Store(0)
		// Not when another was quicker, or the resolver stops.
		case ctx.Err() == nil || time.Since(began) >= headStart:
			up.restUntil.Store(time.Now().Add(restAfterFailure).UnixNano())
		}
	}()
	out := new(dns.Msg)
	out.Id = uint16(rand.Uint32())
	out.RecursionDesired = query.RecursionDesired
	out.CheckingDisabled = query.CheckingDisabled
	out.AuthenticatedData = query.AuthenticatedData
	out.Question = query.Question
	opt := query.IsEdns0()
	// No EDNS option of the client is passed on: cookies and the like are
	// between it and us.
	out.SetEdns0(maxUDP, opt != nil && opt.Do())
	answer, err = up.exchange(ctx, "udp", out)
	if err == nil && (answer.Rcode == dns.RcodeFormatError || answer.Rcode == dns.RcodeNotImplemented) {
		// It may not know EDNS (RFC 6891, 7).
		out.Extra = nil
		answer, err = up.exchange(ctx, "udp", out)
	}
	if err == nil && answer.Truncated {
		if whole, err := up.exchange(ctx, "tcp", out); err == nil {
			return whole, nil
		}
		// What fits is better than nothing; TC stays set.
	}
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s: %w", up.addr, err)
	}
	return answer, nil
}

func (up *upstream) exchange(ctx context.Context, network string, query *dns.Msg) (*dns.Msg, error) {
	packet, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("cannot encode the question: %w", err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, up.addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if network == "tcp" {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	for {
		message, err := readMessage(conn, network)
		if err != nil {
			return nil, err
		}
		answer := new(dns.Msg)
		if err := answer.Unpack(message); err == nil && answers(answer, query) {
			return answer, nil
		}
		if network == "tcp" {
			return nil, errors.New("the answer is not one to the question")
		}
		// Over UDP anybody may send: go on waiting for the real answer.
	}
}

func readMessage(conn net.Conn, network string) ([]byte, error) {
	if network == "udp" {
		buf := make([]byte, maxUpstreamUDP)
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, buf)
	return buf, err
}

// answers reports whether answer is one to query: its id, and its question,
// which some resolvers leave out of error answers.
func answers(answer, query *dns.Msg) bool {
	if !answer.Response || answer.Id != query.Id || answer.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(answer.Question) == 0 {
		return answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError
	}
	a, q := answer.Question[0], query.Question[0]
	return len(answer.Question) == 1 && a.Qtype == q.Qtype && a.Qclass == q.Qclass && strings.EqualFold(a.Name, q.Name)
}
