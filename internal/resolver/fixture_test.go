package resolver

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// The world of the tests: network red with the apps shop and idle, network
// blue with an app of its own at the same private addresses.
const (
	red  = "pn-00000000-0000-4000-8000-00000000000a"
	blue = "pn-00000000-0000-4000-8000-00000000000b"
	shop = "ap-00000000-0000-4000-8000-000000000001"
	idle = "ap-00000000-0000-4000-8000-000000000002"
	navy = "ap-00000000-0000-4000-8000-000000000003"
)

// Who asks: the container with this eth0 address.
const (
	askWeb1     = "127.0.0.11"
	askAPI1new  = "127.0.0.22"
	askOneOff   = "127.0.0.31"
	askNavyCron = "127.0.0.36"
	askNavy     = "127.0.0.41"
	askNobody   = "127.0.0.99"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

type change func(*platform.Instance)

func instance(id, network, app, name, processType string, number int, private, outside string, changes ...change) platform.Instance {
	inst := platform.Instance{
		ID: id, NetworkID: network, AppID: app, AppName: name, Type: processType, Kind: platform.KindApp,
		Number: number, Generation: 1, Active: true, State: platform.InstanceRunning,
		StartedAt:   time.Unix(1000, 0),
		Observation: platform.Observation{Ready: true},
		PrivateAddr: addr(private), OutsideAddr: addr(outside),
	}
	for _, c := range changes {
		c(&inst)
	}
	return inst
}

func state(s platform.InstanceState) change { return func(i *platform.Instance) { i.State = s } }
func kind(k platform.Kind) change           { return func(i *platform.Instance) { i.Kind = k } }
func generation(g int64) change             { return func(i *platform.Instance) { i.Generation = g } }
func unready(i *platform.Instance)          { i.Observation.Ready = false }
func inactive(i *platform.Instance)         { i.Active = false }
func addressless(i *platform.Instance)      { i.PrivateAddr = netip.Addr{} }

func world() (*roster.Roster, *directory.Directory) {
	d := directory.New()
	d.Set([]directory.App{
		{ID: shop, Name: "shop-app", NetworkID: red, Types: []string{"web", "api", "Worker", "clock"}},
		{ID: idle, Name: "idle-app", NetworkID: red, Types: []string{"job"}},
		{ID: navy, Name: "navy-app", NetworkID: blue, Types: []string{"web"}},
	})
	r := roster.New()
	for _, i := range []platform.Instance{
		instance("w1", red, shop, "shop-app", "web", 1, "10.240.0.1", askWeb1),
		instance("w2", red, shop, "shop-app", "web", 2, "10.240.0.2", "127.0.0.12"),
		instance("w3", red, shop, "shop-app", "web", 3, "10.240.0.3", "127.0.0.13", unready),
		instance("w4", red, shop, "shop-app", "web", 4, "10.240.0.4", "127.0.0.14", state(platform.InstanceDraining)),
		instance("w5", red, shop, "shop-app", "web", 5, "10.240.0.5", "127.0.0.15", state(platform.InstanceStarting), addressless),
		// api-1 is being replaced: the new one does not listen yet.
		instance("a1", red, shop, "shop-app", "api", 1, "10.240.0.21", "127.0.0.21"),
		instance("a1n", red, shop, "shop-app", "api", 1, "10.240.0.22", askAPI1new, generation(2), unready, inactive),
		// api-2: the new one is ready, the old one already drains.
		instance("a2", red, shop, "shop-app", "api", 2, "10.240.1.23", "127.0.0.23", state(platform.InstanceDraining)),
		instance("a2n", red, shop, "shop-app", "api", 2, "10.240.1.24", "127.0.0.24", generation(2)),
		// api-3: the new one is ready but waits for the switch.
		instance("a3", red, shop, "shop-app", "api", 3, "10.240.1.25", "127.0.0.25"),
		instance("a3n", red, shop, "shop-app", "api", 3, "10.240.1.26", "127.0.0.26", generation(2), inactive),
		instance("k1", red, shop, "shop-app", "Worker", 1, "10.240.2.1", "127.0.0.27", state(platform.InstanceCrashed), unready),
		instance("o1", red, shop, "shop-app", "one-off", 1, "10.240.3.1", askOneOff, kind(platform.KindOneOff)),
		instance("p1", red, shop, "shop-app", "postdeploy", 1, "10.240.3.2", "127.0.0.32", kind(platform.KindPostdeploy)),
		instance("c1", red, shop, "shop-app", "cron", 1, "10.240.3.3", "127.0.0.33", kind(platform.KindCron)),
		instance("c2", red, shop, "shop-app", "cron", 2, "10.240.3.4", "127.0.0.34", kind(platform.KindCron), state(platform.InstanceEnded)),
		// navy-app has a process type that is called cron, and tasks as well.
		instance("n2", blue, navy, "navy-app", "cron", 1, "10.240.0.62", "127.0.0.35", unready),
		instance("n3", blue, navy, "navy-app", "cron", 1, "10.240.0.63", askNavyCron, kind(platform.KindCron), generation(9)),
		instance("n1", blue, navy, "navy-app", "web", 1, "10.240.0.1", askNavy),
	} {
		r.Put(i)
		r.Observe(i.ID, i.StartedAt, i.Observation)
	}
	return r, d
}

// start runs a resolver on a free port of 127.0.0.1.
func start(t testing.TB, r *roster.Roster, d *directory.Directory, upstreams ...netip.AddrPort) *Resolver {
	t.Helper()
	res, err := New(Config{
		Listen:    []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Upstreams: upstreams, Roster: r, Directory: d,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- res.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return res
}

func message(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Question[0].Name = name
	return m
}

// exchange sends a question from an address of this machine.
func exchange(t testing.TB, res *Resolver, network, from string, m *dns.Msg) *dns.Msg {
	t.Helper()
	var local net.Addr = &net.UDPAddr{IP: net.ParseIP(from)}
	if network == "tcp" {
		local = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c := dns.Client{Net: network, Timeout: 10 * time.Second, Dialer: &net.Dialer{LocalAddr: local, Timeout: 10 * time.Second}}
	reply, _, err := c.Exchange(m, res.Addrs()[0].String())
	if err != nil {
		t.Fatalf("%s %v: %v", network, m.Question, err)
	}
	return reply
}

func ask(t testing.TB, res *Resolver, from, name string, qtype uint16) *dns.Msg {
	t.Helper()
	return exchange(t, res, "udp", from, message(name, qtype))
}

// addrsIn returns the A records of a reply, sorted.
func addrsIn(m *dns.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	slices.Sort(out)
	return out
}

// recorder is an upstream that answers everything with 192.0.2.1 and
// remembers what it was asked.
type recorder struct {
	mu    sync.Mutex
	names []string
}

func (u *recorder) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	u.mu.Lock()
	u.names = append(u.names, strings.ToLower(q.Question[0].Name))
	u.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(q)
	m.Answer = append(m.Answer, &dns.A{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
		A:   net.IPv4(192, 0, 2, 1),
	})
	w.WriteMsg(m)
}

func (u *recorder) asked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.names)
}

// upstreamServer serves handler by UDP and TCP on one port of 127.0.0.1.
func upstreamServer(t testing.TB, handler dns.Handler) netip.AddrPort {
	t.Helper()
	s, err := openSocket(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, srv := range []*dns.Server{{PacketConn: s.udp, Handler: handler}, {Listener: s.tcp, Handler: handler}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		go srv.ActivateAndServe()
		<-started
		t.Cleanup(func() { srv.Shutdown() })
	}
	return s.addr
}
