package resolver

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestOutsideNamesAreForwardedAndPrivateOnesNever(t *testing.T) {
	r, d := world()
	up := &recorder{}
	res := start(t, r, d, upstreamServer(t, up))
	for _, from := range []string{askWeb1, askNavy, askNobody} {
		for _, name := range []string{
			"internal.", "INTERNAL.", "shop-app.internal.", "x.InTeRnAl.", "_dns-sd._udp.internal.",
			"metadata.google.internal.", long("web.", navy, blue), long("9.", shop, red), `a\.b.internal.`,
			"private-network.internal.", "2.0.240.10.in-addr.arpa.", "9.9.17.172.in-addr.arpa.",
		} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeNS, dns.TypePTR, dns.TypeANY, dns.TypeDS} {
				ask(t, res, from, name, qtype)
				exchange(t, res, "tcp", from, message(name, qtype))
			}
		}
	}
	if got := up.asked(); len(got) != 0 {
		t.Fatalf("private names went upstream: %v", got)
	}
	for _, from := range []string{askWeb1, askNobody} {
		for _, network := range []string{"udp", "tcp"} {
			m := exchange(t, res, network, from, message("ExAmple.org.", dns.TypeA))
			if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 || m.Question[0].Name != "ExAmple.org." || m.Authoritative {
				t.Errorf("outside name from %s over %s: %v", from, network, m)
			}
		}
	}
	if diff := cmp.Diff([]string{"example.org.", "example.org.", "example.org.", "example.org."}, up.asked()); diff != "" {
		t.Errorf("asked upstream (-want +got):\n%s", diff)
	}
}

func TestDeadUpstreams(t *testing.T) {
	r, d := world()
	closed := closedPort(t)
	res := start(t, r, d, closed)
	if m := ask(t, res, askWeb1, "example.org.", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("outside name: %s, want SERVFAIL", dns.RcodeToString[m.Rcode])
	}
	if m := ask(t, res, askWeb1, "shop-app.internal.", dns.TypeA); len(m.Answer) != 2 {
		t.Errorf("private names must not need an upstream: %v", m)
	}
	none := start(t, r, d)
	if m := ask(t, none, askWeb1, "example.org.", dns.TypeA); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("without upstreams: %s, want SERVFAIL", dns.RcodeToString[m.Rcode])
	}
	// They are found later.
	late := &recorder{}
	if err := none.SetUpstreams([]netip.AddrPort{upstreamServer(t, late)}); err != nil {
		t.Fatal(err)
	}
	if m := ask(t, none, askWeb1, "example.org.", dns.TypeA); m.Rcode != dns.RcodeSuccess {
		t.Errorf("with an upstream that came later: %s", dns.RcodeToString[m.Rcode])
	}
	if err := none.SetUpstreams(none.listen); err == nil {
		t.Error("it would ask itself")
	}
	up := &recorder{}
	second := start(t, r, d, closed, upstreamServer(t, up))
	if m := ask(t, second, askWeb1, "example.org.", dns.TypeA); len(m.Answer) != 1 {
		t.Errorf("the second upstream was not used: %v", m)
	}
}

func TestSilentUpstreamIsAskedLastAfterwards(t *testing.T) {
	r, d := world()
	var questions atomic.Int32
	silent := upstreamServer(t, dns.HandlerFunc(func(dns.ResponseWriter, *dns.Msg) { questions.Add(1) }))
	up := &recorder{}
	res := start(t, r, d, silent, upstreamServer(t, up))
	for range 3 {
		if m := ask(t, res, askWeb1, "example.org.", dns.TypeA); len(m.Answer) != 1 {
			t.Fatalf("no answer from the second upstream: %v", m)
		}
	}
	if n := questions.Load(); n != 1 {
		t.Errorf("the silent upstream was asked %d times, want once", n)
	}
}

func TestTroubledUpstream(t *testing.T) {
	r, d := world()
	refuses := upstreamServer(t, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
	}))
	missing := upstreamServer(t, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNameError))
	}))
	if m := ask(t, start(t, r, d, refuses, missing), askWeb1, "example.org.", dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("got %s, want the second upstream's NXDOMAIN", dns.RcodeToString[m.Rcode])
	}
	if m := ask(t, start(t, r, d, refuses), askWeb1, "example.org.", dns.TypeA); m.Rcode != dns.RcodeRefused {
		t.Errorf("got %s, want the only upstream's REFUSED", dns.RcodeToString[m.Rcode])
	}
}

func TestLargeUpstreamAnswerComesByTCP(t *testing.T) {
	r, d := world()
	up := upstreamServer(t, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncated = true
		} else {
			for i := range 100 {
				m.Answer = append(m.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
					A:   net.IPv4(192, 0, 2, byte(i)),
				})
			}
		}
		w.WriteMsg(m)
	}))
	res := start(t, r, d, up)
	if m := exchange(t, res, "tcp", askWeb1, message("example.org.", dns.TypeA)); len(m.Answer) != 100 {
		t.Errorf("over TCP: %d records, want 100", len(m.Answer))
	}
	if m := ask(t, res, askWeb1, "example.org.", dns.TypeA); !m.Truncated || size(m) > 512 {
		t.Errorf("over UDP: TC=%v, %d bytes", m.Truncated, size(m))
	}
}

// TestUpstreamThatIgnoresTheSize: its answer is larger than what it was told
// that fits, and is cut for the client as any other.
func TestUpstreamThatIgnoresTheSize(t *testing.T) {
	r, d := world()
	up := upstreamServer(t, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		for i := range 100 {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
				A:   net.IPv4(192, 0, 2, byte(i)),
			})
		}
		w.WriteMsg(m)
	}))
	res := start(t, r, d, up)
	if m := ask(t, res, askWeb1, "example.org.", dns.TypeA); m.Rcode != dns.RcodeSuccess || !m.Truncated || size(m) > 512 {
		t.Errorf("over UDP: %s, TC=%v, %d bytes", dns.RcodeToString[m.Rcode], m.Truncated, size(m))
	}
	if m := exchange(t, res, "tcp", askWeb1, message("example.org.", dns.TypeA)); len(m.Answer) != 100 {
		t.Errorf("over TCP: %d records, want 100", len(m.Answer))
	}
}

// TestUpstreamWithoutEDNS is asked again as it wants to be asked.
func TestUpstreamWithoutEDNS(t *testing.T) {
	r, d := world()
	for _, rcode := range []int{dns.RcodeFormatError, dns.RcodeNotImplemented} {
		up := &recorder{}
		old := upstreamServer(t, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() != nil {
				refused := new(dns.Msg).SetRcode(q, rcode)
				refused.Question = nil // it did not even read it
				w.WriteMsg(refused)
				return
			}
			up.ServeDNS(w, q)
		}))
		res := start(t, r, d, old)
		m := message("example.org.", dns.TypeA)
		m.SetEdns0(maxUDP, true)
		if got := exchange(t, res, "udp", askWeb1, m); got.Rcode != dns.RcodeSuccess || len(got.Answer) != 1 || got.IsEdns0() == nil {
			t.Errorf("an upstream that says %s to EDNS: %v", dns.RcodeToString[rcode], got)
		}
	}
}

func TestForgedAnswersAreIgnored(t *testing.T) {
	r, d := world()
	up := upstreamServer(t, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		forged := func(change func(*dns.Msg)) {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(198, 51, 100, 66)})
			change(m)
			w.WriteMsg(m)
		}
		forged(func(m *dns.Msg) { m.Id++ })
		forged(func(m *dns.Msg) { m.Question[0].Name = "example.net." })
		forged(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA })
		forged(func(m *dns.Msg) { m.Response = false })
		w.Write([]byte("nonsense"))
		(&recorder{}).ServeDNS(w, q)
	}))
	m := ask(t, start(t, r, d, up), askWeb1, "example.org.", dns.TypeA)
	if got := addrsIn(m); len(got) != 1 || got[0] != "192.0.2.1" {
		t.Errorf("got %v, want the answer that is one to the question", got)
	}
}

func TestReadResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# nameserver 192.0.2.9\nsearch example.org\nnameserver 127.0.0.53\n nameserver\t2001:db8::1 \nnameserver nonsense\noptions ndots:2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n")
	got, err := ReadResolvConf(path)
	want := []string{"127.0.0.53:53", "[2001:db8::1]:53", "192.0.2.3:53"}
	if err != nil || len(got) != 3 || got[0].String() != want[0] || got[1].String() != want[1] || got[2].String() != want[2] {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	write("search example.org\n")
	if _, err := ReadResolvConf(path); err == nil || !strings.Contains(err.Error(), "names no resolver") {
		t.Errorf("a file without nameservers: %v", err)
	}
	if _, err := ReadResolvConf(path + ".missing"); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestNewRefusesBadConfigurations(t *testing.T) {
	r, d := world()
	here := closedPort(t)
	if _, err := New(Config{Listen: []netip.AddrPort{here}, Upstreams: []netip.AddrPort{here}, Roster: r, Directory: d}); err == nil {
		t.Error("a resolver that asks itself was accepted")
	}
	res := start(t, r, d)
	if _, err := New(Config{Listen: res.Addrs(), Roster: r, Directory: d}); err == nil || !strings.Contains(err.Error(), "cannot serve names on") {
		t.Errorf("a second server on the same address: %v", err)
	}
}

// closedPort is an address of this machine where nobody answers.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	s, err := openSocket(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	return s.addr
}

func BenchmarkPrivateName(b *testing.B) {
	r, d := world()
	res, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Roster: r, Directory: d})
	if err != nil {
		b.Fatal(err)
	}
	defer res.close()
	p, err := message("api.shop-app.internal.", dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	h, from, buf := &handler{Resolver: res}, addr(askWeb1), make([]byte, 0, maxUDP)
	b.ReportAllocs()
	for b.Loop() {
		h.handle(p, from, buf)
	}
}

func BenchmarkIndexOf1000(b *testing.B) {
	r := crowd(1000)
	_, d := world()
	for b.Loop() {
		for _, who := range makeIndex(r, d).askers {
			who.zone.built()
		}
	}
}
