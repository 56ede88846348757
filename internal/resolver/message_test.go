package resolver

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

func TestRefusedKindsOfMessages(t *testing.T) {
	r, d := world()
	up := &recorder{}
	res := start(t, r, d, upstreamServer(t, up))
	for _, c := range []struct {
		why   string
		make  func(m *dns.Msg)
		rcode int
	}{
		{"zone transfer inside", func(m *dns.Msg) { m.SetAxfr("internal.") }, dns.RcodeRefused},
		{"zone transfer outside", func(m *dns.Msg) { m.SetAxfr("example.org.") }, dns.RcodeRefused},
		{"incremental transfer", func(m *dns.Msg) { m.SetIxfr("internal.", 1, "a.", "b.") }, dns.RcodeRefused},
		{"CHAOS", func(m *dns.Msg) {
			m.SetQuestion("version.bind.", dns.TypeTXT)
			m.Question[0].Qclass = dns.ClassCHAOS
		}, dns.RcodeRefused},
		{"any class", func(m *dns.Msg) {
			m.SetQuestion("shop-app.internal.", dns.TypeA)
			m.Question[0].Qclass = dns.ClassANY
		}, dns.RcodeRefused},
		{"notify", func(m *dns.Msg) { m.SetNotify("internal.") }, dns.RcodeNotImplemented},
		{"update", func(m *dns.Msg) { m.SetUpdate("internal.") }, dns.RcodeNotImplemented},
		{"two questions", func(m *dns.Msg) {
			m.SetQuestion("shop-app.internal.", dns.TypeA)
			m.Question = append(m.Question, m.Question[0])
		}, dns.RcodeFormatError},
		{"no question", func(m *dns.Msg) { m.Id = dns.Id() }, dns.RcodeFormatError},
		{"unknown EDNS version", func(m *dns.Msg) {
			m.SetQuestion("shop-app.internal.", dns.TypeA)
			m.SetEdns0(1232, false)
			m.IsEdns0().SetVersion(1)
		}, dns.RcodeBadVers},
	} {
		t.Run(c.why, func(t *testing.T) {
			m := new(dns.Msg)
			c.make(m)
			for _, network := range []string{"udp", "tcp"} {
				reply := exchange(t, res, network, askWeb1, m)
				if reply.Rcode != c.rcode || len(reply.Answer)+len(reply.Ns) != 0 {
					t.Errorf("%s: got %s with %d records, want %s", network, dns.RcodeToString[reply.Rcode], len(reply.Answer)+len(reply.Ns), dns.RcodeToString[c.rcode])
				}
			}
		})
	}
	if got := up.asked(); len(got) != 0 {
		t.Errorf("went upstream: %v", got)
	}
}

func TestMalformedMessages(t *testing.T) {
	r, d := world()
	res := start(t, r, d)
	valid, err := message("shop-app.internal.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	cut := valid[:len(valid)-3]
	reply, forward := (&handler{Resolver: res}).handle(cut, addr(askWeb1), nil)
	if forward != nil || len(reply) != 12 || reply[3]&0xf != dns.RcodeFormatError || reply[0] != cut[0] || reply[1] != cut[1] {
		t.Errorf("a cut message: reply %x, want FORMERR with its id", reply)
	}
	answer := append([]byte(nil), valid...)
	answer[2] |= 0x80
	for why, p := range map[string][]byte{"shorter than a header": valid[:11], "empty": nil, "an answer": answer} {
		if reply, forward := (&handler{Resolver: res}).handle(p, addr(askWeb1), nil); reply != nil || forward != nil {
			t.Errorf("%s: got %x, want silence", why, reply)
		}
	}
}

// FuzzHandle: whatever comes in, the reply is a message with the id of the
// question that fits the limit, and no private name is ever sent on.
func FuzzHandle(f *testing.F) {
	for _, name := range []string{"shop-app.internal.", "1.api.shop-app.internal.", "example.org.", "2.0.240.10.in-addr.arpa.", "."} {
		m := message(name, dns.TypeA)
		m.SetEdns0(1232, true)
		p, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p, false)
		f.Add(p[:len(p)-5], true)
	}
	// Compression loop, label with a dot inside, several questions.
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"), false)
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0aa.internal\x00\x00\x01\x00\x01"), false)
	f.Add([]byte("\x00\x01\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01\x01b\x00\x00\x01\x00\x01"), true)
	r, d := world()
	res, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Roster: r, Directory: d})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(res.close)
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		sent := slices.Clone(packet)
		h := &handler{Resolver: res, tcp: tcp}
		for _, from := range []string{askWeb1, askNobody} {
			reply, forward := h.handle(packet, addr(from), make([]byte, 0, maxUDP))
			limit := h.q.limit(tcp)
			if forward != nil {
				m := new(dns.Msg)
				if err := m.Unpack(packet); err != nil || endsInInternal(packet) || dns.IsSubDomain("internal.", m.Question[0].Name) {
					t.Fatalf("would be sent upstream: %x", packet)
				}
				reply = forward(context.Background()) // no upstream: SERVFAIL
			}
			if !bytes.Equal(packet, sent) {
				t.Fatalf("%x was changed to %x", sent, packet)
			}
			if reply != nil {
				checkReply(t, packet, reply, limit)
			}
		}
		sameAsLibrary(t, packet)
	})
}

// checkReply: a message that answers the one that was sent, no longer than
// the client takes.
func checkReply(t *testing.T, packet, reply []byte, limit int) {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("unreadable reply %x to %x: %v", reply, packet, err)
	}
	if !m.Response || reply[0] != packet[0] || reply[1] != packet[1] || len(reply) > max(limit, minUDP) {
		t.Fatalf("wrong reply %x to %x", reply, packet)
	}
	q := new(question)
	if len(m.Question) == 1 && (!q.parse(packet) || !bytes.HasPrefix(reply[headerSize:], q.asked[headerSize:])) {
		t.Fatalf("the question of %x came back in %x otherwise than it was sent", packet, reply)
	}
}

// sameAsLibrary: what both our parser and the library can read means the same
// to both.
func sameAsLibrary(t *testing.T, packet []byte) {
	t.Helper()
	m, q := new(dns.Msg), new(question)
	if !q.parse(packet) || m.Unpack(packet) != nil {
		return
	}
	wire := make([]byte, maxName+1)
	n, err := dns.PackDomainName(m.Question[0].Name, wire, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(q.key()), string(wire[:n]); len(got) != len(want) || !equalFold(want, got) ||
		q.rrtype != m.Question[0].Qtype || q.class != m.Question[0].Qclass || q.labels != dns.CountLabel(m.Question[0].Name) {
		t.Fatalf("%x: read as %q %d %d, the library reads %v", packet, got, q.rrtype, q.class, m.Question[0])
	}
	if opt := m.IsEdns0(); (opt != nil) != q.edns || opt != nil && (int(opt.UDPSize()) != q.udpSize || opt.Do() != q.dnssecOK || opt.Version() != q.version) {
		t.Fatalf("%x: EDNS %v %d %v %d, the library reads %v", packet, q.edns, q.udpSize, q.dnssecOK, q.version, opt)
	}
}

// endsInInternal reads the labels of the first question by itself, without
// the library; a name with compression pointers counts as not internal.
func endsInInternal(packet []byte) bool {
	last := ""
	for i := 12; i < len(packet) && packet[i] != 0 && packet[i] < 0x40; i += int(packet[i]) + 1 {
		if i+1+int(packet[i]) > len(packet) {
			return false
		}
		last = string(packet[i+1 : i+1+int(packet[i])])
	}
	return len(last) == 8 && equalFold(last, "internal")
}

func equalFold(a, b string) bool {
	for i := range a {
		x, y := a[i], b[i]
		if x >= 'A' && x <= 'Z' {
			x += 'a' - 'A'
		}
		if x != y {
			return false
		}
	}
	return true
}
