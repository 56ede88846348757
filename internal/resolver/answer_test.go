package resolver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

func long(head, app, network string) string {
	return head + app + "." + network + ".private-network.internal."
}

func TestAnswersToPrivateNames(t *testing.T) {
	r, d := world()
	res := start(t, r, d)
	const ok, nx = dns.RcodeSuccess, dns.RcodeNameError
	webs := []string{"10.240.0.1", "10.240.0.2"}
	for _, c := range []struct {
		why   string
		from  string
		name  string
		qtype uint16
		rcode int
		addrs []string
	}{
		{"the bare app is its web containers", askWeb1, long("", shop, red), dns.TypeA, ok, webs},
		{"short", askWeb1, "shop-app.internal.", dns.TypeA, ok, webs},
		{"web by name", askWeb1, long("web.", shop, red), dns.TypeA, ok, webs},
		{"any mixture of cases", askWeb1, "wEb.Shop-aPP.INTernal.", dns.TypeA, ok, webs},
		{"a capital of a type", askWeb1, "worker.shop-app.internal.", dns.TypeTXT, ok, nil},
		{"any case", askWeb1, strings.ToUpper(long("web.", shop, red)), dns.TypeA, ok, webs},
		{"ANY gets the addresses", askWeb1, "web.shop-app.internal.", dns.TypeANY, ok, webs},
		{"type: in service only", askWeb1, "api.shop-app.internal.", dns.TypeA, ok, []string{"10.240.0.21", "10.240.1.24", "10.240.1.25"}},
		{"number", askWeb1, long("2.web.", shop, red), dns.TypeA, ok, []string{"10.240.0.2"}},
		{"number of a container that is not ready", askWeb1, "3.web.shop-app.internal.", dns.TypeA, ok, []string{"10.240.0.3"}},
		{"number of a container that drains", askWeb1, "4.web.shop-app.internal.", dns.TypeA, nx, nil},
		{"number of a container without address yet", askWeb1, "5.web.shop-app.internal.", dns.TypeA, ok, nil},
		{"no such number", askWeb1, "6.web.shop-app.internal.", dns.TypeA, nx, nil},
		{"the ready generation has the number", askWeb1, "1.api.shop-app.internal.", dns.TypeA, ok, []string{"10.240.0.21"}},
		{"its own number is itself", askAPI1new, "1.api.shop-app.internal.", dns.TypeA, ok, []string{"10.240.0.22"}},
		{"also by the long name", askAPI1new, long("1.api.", shop, red), dns.TypeA, ok, []string{"10.240.0.22"}},
		{"a drained generation has lost the number", askWeb1, "2.api.shop-app.internal.", dns.TypeA, ok, []string{"10.240.1.24"}},
		{"the serving generation has the number until the switch", askWeb1, "3.api.shop-app.internal.", dns.TypeA, ok, []string{"10.240.1.25"}},
		{"number of a crashed container", askWeb1, "1.worker.shop-app.internal.", dns.TypeA, ok, []string{"10.240.2.1"}},
		{"type with only a crashed container", askWeb1, "worker.shop-app.internal.", dns.TypeA, ok, nil},
		{"type at 0", askWeb1, "clock.shop-app.internal.", dns.TypeA, ok, nil},
		{"number of a type at 0", askWeb1, "1.clock.shop-app.internal.", dns.TypeA, nx, nil},
		{"app without web", askWeb1, "idle-app.internal.", dns.TypeA, ok, nil},
		{"web of an app without web", askWeb1, "web.idle-app.internal.", dns.TypeA, nx, nil},
		{"one-off by number", askWeb1, "1.one-off.shop-app.internal.", dns.TypeA, ok, []string{"10.240.3.1"}},
		{"one-offs have no service name", askWeb1, "one-off.shop-app.internal.", dns.TypeA, ok, nil},
		{"no such one-off", askWeb1, "2.one-off.shop-app.internal.", dns.TypeA, nx, nil},
		{"an app without one-offs", askWeb1, "one-off.idle-app.internal.", dns.TypeA, nx, nil},
		{"postdeploy by number", askWeb1, "1.postdeploy.shop-app.internal.", dns.TypeA, ok, []string{"10.240.3.2"}},
		{"postdeploy has no service name", askWeb1, "postdeploy.shop-app.internal.", dns.TypeA, ok, nil},
		{"a scheduled task by number", askWeb1, "1.cron.shop-app.internal.", dns.TypeA, ok, []string{"10.240.3.3"}},
		{"scheduled tasks have no service name", askWeb1, "cron.shop-app.internal.", dns.TypeA, ok, nil},
		{"one that has ended", askWeb1, "2.cron.shop-app.internal.", dns.TypeA, nx, nil},
		{"a process type of that name comes first", askNavy, "1.cron.navy-app.internal.", dns.TypeA, ok, []string{"10.240.0.62"}},
		{"a task finds itself all the same", askNavyCron, "1.cron.navy-app.internal.", dns.TypeA, ok, []string{"10.240.0.63"}},
		{"a one-off asks", askOneOff, "shop-app.internal.", dns.TypeA, ok, webs},
		{"unknown type", askWeb1, "nope.shop-app.internal.", dns.TypeA, nx, nil},
		{"unknown app", askWeb1, "nobody.internal.", dns.TypeA, nx, nil},
		{"malformed", askWeb1, "01.web.shop-app.internal.", dns.TypeA, nx, nil},
		{"too many labels", askWeb1, "a.1.web.shop-app.internal.", dns.TypeA, nx, nil},
		{"another network, long", askWeb1, long("web.", navy, blue), dns.TypeA, nx, nil},
		{"another network, short", askWeb1, "navy-app.internal.", dns.TypeA, nx, nil},
		{"own app under another network", askWeb1, long("web.", shop, blue), dns.TypeA, nx, nil},
		{"the other network has its own", askNavy, "navy-app.internal.", dns.TypeA, ok, []string{"10.240.0.1"}},
		{"and not ours", askNavy, long("web.", shop, red), dns.TypeA, nx, nil},
		{"a stranger sees no app", askNobody, long("web.", shop, red), dns.TypeA, nx, nil},
		{"a stranger sees no zone", askNobody, "internal.", dns.TypeA, nx, nil},
		{"no IPv6", askWeb1, "web.shop-app.internal.", dns.TypeAAAA, ok, nil},
		{"no MX", askWeb1, "shop-app.internal.", dns.TypeMX, ok, nil},
		{"no TXT", askWeb1, "1.web.shop-app.internal.", dns.TypeTXT, ok, nil},
		{"no SRV", askWeb1, "shop-app.internal.", dns.TypeSRV, ok, nil},
		{"no CNAME", askWeb1, "shop-app.internal.", dns.TypeCNAME, ok, nil},
		{"no NS", askWeb1, "api.shop-app.internal.", dns.TypeNS, ok, nil},
		{"no HTTPS", askWeb1, "web.shop-app.internal.", dns.TypeHTTPS, ok, nil},
		{"no CAA", askWeb1, "1.api.shop-app.internal.", dns.TypeCAA, ok, nil},
		{"no SOA below the zone", askWeb1, "shop-app.internal.", dns.TypeSOA, ok, nil},
		{"no DS", askWeb1, "internal.", dns.TypeDS, ok, nil},
		{"ANY of a type at 0", askWeb1, "clock.shop-app.internal.", dns.TypeANY, ok, nil},
		{"an unknown type of record", askWeb1, "shop-app.internal.", 65280, ok, nil},
		{"no IPv6 of nothing", askWeb1, "nobody.internal.", dns.TypeAAAA, nx, nil},
		{"branch: zone", askWeb1, "internal.", dns.TypeA, ok, nil},
		{"branch: long zone", askWeb1, "Private-Network.internal.", dns.TypeA, ok, nil},
		{"branch: own network", askWeb1, red + ".private-network.internal.", dns.TypeA, ok, nil},
		{"branch: other network", askWeb1, blue + ".private-network.internal.", dns.TypeA, nx, nil},
	} {
		t.Run(c.why, func(t *testing.T) {
			m := ask(t, res, c.from, c.name, c.qtype)
			if m.Rcode != c.rcode || !m.Authoritative || !m.RecursionAvailable {
				t.Errorf("got %s aa=%v ra=%v, want %s from an authority", dns.RcodeToString[m.Rcode], m.Authoritative, m.RecursionAvailable, dns.RcodeToString[c.rcode])
			}
			if diff := cmp.Diff(c.addrs, addrsIn(m)); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if len(m.Question) != 1 || m.Question[0].Name != c.name {
				t.Errorf("the question %q came back as %v", c.name, m.Question)
			}
			for _, rr := range m.Answer {
				if rr.Header().Ttl != 5 || rr.Header().Name != c.name {
					t.Errorf("record %v: want TTL 5 and the name as asked", rr)
				}
			}
			if len(c.addrs) == 0 {
				wantSOA(t, m, "internal.")
			}
		})
	}
}

// wantSOA checks that a negative reply may be remembered for at most 5 s.
func wantSOA(t *testing.T, m *dns.Msg, apex string) {
	t.Helper()
	if len(m.Answer) != 0 || len(m.Ns) != 1 {
		t.Fatalf("want no answer and one SOA, got:\n%v", m)
	}
	soa, ok := m.Ns[0].(*dns.SOA)
	if !ok || soa.Hdr.Name != apex || soa.Hdr.Ttl > 5 || soa.Minttl > 5 {
		t.Fatalf("want an SOA of %s with times of at most 5 s, got %v", apex, m.Ns[0])
	}
}

func TestZoneHasAnSOA(t *testing.T) {
	r, d := world()
	res := start(t, r, d)
	m := ask(t, res, askWeb1, "Internal.", dns.TypeSOA)
	if len(m.Answer) != 1 || m.Answer[0].Header().Name != "Internal." || m.Answer[0].(*dns.SOA).Minttl != 5 {
		t.Errorf("got %v", m)
	}
	if m := ask(t, res, askNobody, "internal.", dns.TypeSOA); m.Rcode != dns.RcodeNameError {
		t.Errorf("a stranger got %v", m)
	}
}

// TestScaledDownAndUpAgain: the former container with the number drains
// while the new one is there already.
func TestScaledDownAndUpAgain(t *testing.T) {
	r, d := world()
	res := start(t, r, d)
	const name, former, newcomer = "6.api.shop-app.internal.", "10.240.0.61", "10.240.0.62"
	first := instance("a6", red, shop, "shop-app", "api", 6, former, "127.0.0.61", state(platform.InstanceDraining))
	// The order of ids must not decide.
	second := instance("a5", red, shop, "shop-app", "api", 6, newcomer, "127.0.0.62", unready)
	first.CreatedAt, second.CreatedAt = time.Unix(10, 0), time.Unix(20, 0)
	r.Put(first)
	if m := ask(t, res, askWeb1, name, dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("while the only one drains: %v", m)
	}
	if got := addrsIn(ask(t, res, "127.0.0.61", name, dns.TypeA)); !slices.Equal(got, []string{former}) {
		t.Errorf("the draining one no longer finds itself: %v", got)
	}
	for _, step := range []struct {
		why   string
		state platform.InstanceState
		ready bool
	}{{"starting", platform.InstanceStarting, false}, {"running", platform.InstanceRunning, false}, {"ready", platform.InstanceRunning, true}, {"crashed", platform.InstanceCrashed, true}} {
		second.State = step.state
		r.Put(second)
		r.Observe("a5", second.StartedAt, platform.Observation{Ready: step.ready})
		if got := addrsIn(ask(t, res, askWeb1, name, dns.TypeA)); !slices.Equal(got, []string{newcomer}) {
			t.Errorf("the new one is %s: %v, want %s", step.why, got, newcomer)
		}
	}
}

func TestReverseNames(t *testing.T) {
	r, d := world()
	up := &recorder{}
	res := start(t, r, d, upstreamServer(t, up))
	for _, c := range []struct{ why, from, name, want, apex string }{
		{"a member", askWeb1, "2.0.240.10.in-addr.arpa.", long("2.web.", shop, red), ""},
		{"the new generation too", askWeb1, "22.0.240.10.in-addr.arpa.", long("1.api.", shop, red), ""},
		{"a one-off", askWeb1, "1.3.240.10.IN-ADDR.arpa.", long("1.one-off.", shop, red), ""},
		{"the same address in another network", askNavy, "1.0.240.10.in-addr.arpa.", long("1.web.", navy, blue), ""},
		{"an address only the other network has", askNavy, "2.0.240.10.in-addr.arpa.", "", "10.in-addr.arpa."},
		{"nobody's address", askWeb1, "9.3.240.10.in-addr.arpa.", "", "10.in-addr.arpa."},
		{"a label too many", askWeb1, "lb.2.0.240.10.in-addr.arpa.", "", "10.in-addr.arpa."},
		{"leading zeros", askWeb1, "02.0.240.10.in-addr.arpa.", "", "10.in-addr.arpa."},
		{"a stranger asks", askNobody, "2.0.240.10.in-addr.arpa.", "", "10.in-addr.arpa."},
		{"a stranger asks for a branch", askNobody, "240.10.in-addr.arpa.", "", "10.in-addr.arpa."},
		{"the outside network", askWeb1, "1.0.17.172.in-addr.arpa.", "", "17.172.in-addr.arpa."},
		{"another private range", askWeb1, "1.2.3.10.in-addr.arpa.", "", "10.in-addr.arpa."},
		{"a part of another private range", askWeb1, "3.10.in-addr.arpa.", "", "10.in-addr.arpa."},
		{"the last of 172.16.0.0/12", askWeb1, "1.2.31.172.in-addr.arpa.", "", "31.172.in-addr.arpa."},
		{"a home network", askWeb1, "1.2.168.192.in-addr.arpa.", "", "168.192.in-addr.arpa."},
		{"link-local", askWeb1, "254.169.254.169.in-addr.arpa.", "", "254.169.in-addr.arpa."},
		{"loopback", askWeb1, "1.0.0.127.in-addr.arpa.", "", "127.in-addr.arpa."},
	} {
		t.Run(c.why, func(t *testing.T) {
			m := ask(t, res, c.from, c.name, dns.TypePTR)
			if c.want == "" {
				if m.Rcode != dns.RcodeNameError {
					t.Errorf("got %s, want NXDOMAIN", dns.RcodeToString[m.Rcode])
				}
				wantSOA(t, m, c.apex)
				return
			}
			if len(m.Answer) != 1 || m.Answer[0].(*dns.PTR).Ptr != c.want || m.Answer[0].Header().Ttl != 5 {
				t.Errorf("got %v, want %s", m.Answer, c.want)
			}
		})
	}
	for _, branch := range []string{"10.in-addr.arpa.", "240.10.in-addr.arpa.", "3.240.10.in-addr.arpa.", "17.172.in-addr.arpa."} {
		for _, qtype := range []uint16{dns.TypePTR, dns.TypeNS, dns.TypeDS} {
			if m := ask(t, res, askWeb1, branch, qtype); m.Rcode != dns.RcodeSuccess || len(m.Ns) != 1 {
				t.Errorf("a branch of the reverse tree: got %v, want no data", m)
			}
		}
	}
	if m := ask(t, res, askWeb1, "10.in-addr.arpa.", dns.TypeSOA); len(m.Answer) != 1 {
		t.Errorf("SOA of a reverse zone: %v", m)
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT} {
		if m := ask(t, res, askWeb1, "2.0.240.10.in-addr.arpa.", qtype); m.Rcode != dns.RcodeSuccess || len(m.Ns) != 1 {
			t.Errorf("another type at a reverse name: got %v, want no data", m)
		}
	}
	if got := up.asked(); len(got) != 0 {
		t.Fatalf("reverse names of ours went upstream: %v", got)
	}
	public := []string{"1.2.0.192.in-addr.arpa.", "1.0.32.172.in-addr.arpa.", "1.0.15.172.in-addr.arpa.", "172.in-addr.arpa.", "1.1.169.192.in-addr.arpa.", "in-addr.arpa.", "1.0.0.ip6.arpa."}
	for _, name := range public {
		ask(t, res, askWeb1, name, dns.TypePTR)
	}
	if diff := cmp.Diff(public, up.asked()); diff != "" {
		t.Fatalf("other reverse names upstream (-want +got):\n%s", diff)
	}
}

func TestFirstAddressVaries(t *testing.T) {
	r, d := world()
	res := start(t, r, d)
	first := map[string]int{}
	for range 300 {
		m := ask(t, res, askWeb1, "api.shop-app.internal.", dns.TypeA)
		first[m.Answer[0].(*dns.A).A.String()]++
	}
	for a, n := range first {
		if n < 60 || n > 150 {
			t.Errorf("%s came first %d times of 300", a, n)
		}
	}
	if len(first) != 3 {
		t.Errorf("only %d of 3 addresses ever came first", len(first))
	}
}

func TestAnswerFollowsTheRosterAtOnce(t *testing.T) {
	r, d := world()
	res := start(t, r, d)
	const name = "web.shop-app.internal."
	for i := range 50 {
		extra := instance("extra", red, shop, "shop-app", "web", 9, "10.240.0.9", "127.0.0.19", unready)
		extra.StartedAt = time.Unix(int64(2000+i), 0)
		r.Put(extra)
		if got := addrsIn(ask(t, res, askWeb1, name, dns.TypeA)); len(got) != 2 {
			t.Fatalf("before it is ready: %v", got)
		}
		r.Observe("extra", extra.StartedAt, platform.Observation{Ready: true})
		if got := addrsIn(ask(t, res, askWeb1, name, dns.TypeA)); !slices.Contains(got, "10.240.0.9") {
			t.Fatalf("ready, but not in the name: %v", got)
		}
		r.Delete("extra")
		if got := addrsIn(ask(t, res, askWeb1, name, dns.TypeA)); len(got) != 2 {
			t.Fatalf("gone, but still in the name: %v", got)
		}
	}
	d.Delete(shop)
	if got := addrsIn(ask(t, res, askWeb1, name, dns.TypeA)); len(got) != 2 {
		t.Fatalf("names must not depend on the directory while containers run: %v", got)
	}
}

func TestRenamedAppHasOneShortName(t *testing.T) {
	r, d := world()
	apps, _ := d.Snapshot()
	renamed := apps[shop]
	renamed.Name = "store-app"
	d.Put(renamed)
	res := start(t, r, d)
	if m := ask(t, res, askWeb1, "store-app.internal.", dns.TypeA); len(m.Answer) != 2 {
		t.Errorf("new name: %v", m)
	}
	if m := ask(t, res, askWeb1, "shop-app.internal.", dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("old name: %v", m)
	}
}

// crowd is a network with n containers of one type.
func crowd(n int) *roster.Roster {
	r := roster.New()
	for i := range n {
		private := netip.AddrFrom4([4]byte{10, 240, byte(i >> 8), byte(i + 1)})
		outside := netip.AddrFrom4([4]byte{127, 0, 1 + byte(i>>8), byte(i + 1)})
		inst := instance(fmt.Sprint("c", i), red, shop, "shop-app", "api", i+1, private.String(), outside.String())
		r.Put(inst)
		r.Observe(inst.ID, inst.StartedAt, platform.Observation{Ready: true})
	}
	return r
}

func TestLargeAnswers(t *testing.T) {
	for _, n := range []int{29, 50, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { testLargeAnswers(t, n) })
	}
}

func testLargeAnswers(t *testing.T, n int) {
	_, d := world()
	res := start(t, crowd(n), d)
	const from, name = "127.0.1.1", "api.shop-app.internal."
	for _, c := range []struct {
		network string
		edns    uint16
		limit   int
	}{
		{"udp", 0, 512}, {"udp", 100, 512}, {"udp", 700, 700}, {"udp", 1232, 1232}, {"udp", 4096, 1232},
		{"tcp", 0, 65535}, {"tcp", 512, 65535},
	} {
		m := message(name, dns.TypeA)
		room := c.limit - 12 - (len(name) + 1 + 4)
		if c.edns > 0 {
			m.SetEdns0(c.edns, false)
			room -= 11
		}
		got := exchange(t, res, c.network, from, m)
		want := min(n, room/16)
		if got.Truncated != (want < n) || len(got.Answer) != want || size(got) > c.limit {
			t.Errorf("%s, EDNS %d: TC=%v, %d records, %d bytes; want %d records of %d in at most %d bytes", c.network, c.edns, got.Truncated, len(got.Answer), size(got), want, n, c.limit)
		}
		if opt := got.IsEdns0(); (opt != nil) != (c.edns > 0) || opt != nil && opt.UDPSize() != 1232 {
			t.Errorf("%s, EDNS %d: OPT %v, want 1232 advertised", c.network, c.edns, opt)
		}
		if addrs := addrsIn(got); len(slices.Compact(addrs)) != want {
			t.Errorf("%s, EDNS %d: an address came twice", c.network, c.edns)
		}
	}
}

// TestTruncatedAnswersVary: clients that use a cut answer instead of asking
// again by TCP must not all end at the same few containers.
func TestTruncatedAnswersVary(t *testing.T) {
	_, d := world()
	res := start(t, crowd(200), d)
	seen := map[string]int{}
	for range 400 {
		for _, a := range addrsIn(ask(t, res, "127.0.1.1", "api.shop-app.internal.", dns.TypeA)) {
			seen[a]++
		}
	}
	// 29 of 200 fit, so each is expected 58 times.
	for a, n := range seen {
		if n < 20 || n > 110 {
			t.Errorf("%s was in %d of 400 answers", a, n)
		}
	}
	if len(seen) != 200 {
		t.Errorf("only %d of 200 addresses were ever given", len(seen))
	}
}

// size is how long m was on the wire.
func size(m *dns.Msg) int {
	m.Compress = true
	return m.Len()
}
