package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/internal/discovery"
	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// promised is the median time from a change of the roster to the answer, and
// noticed that from a first listening socket, which is only looked for now and
// then.
const (
	promised = 100 * time.Millisecond
	noticed  = 500 * time.Millisecond
)

// TestRosterChangeToAnswer measures, through sockets and a wire, how long a
// client sees the old answer after the roster has changed: containers that
// become ready, that drain, and that are gone, in a network with many others.
func TestRosterChangeToAnswer(t *testing.T) {
	const others, rounds = 60, 60
	r := crowd(others)
	c := newClient(t, r)
	const name, private = "api.shop-app.internal.", "10.240.3.200"
	newcomer := instance("newcomer", red, shop, "shop-app", "api", 1001, private, "127.0.9.9", unready)
	var took []time.Duration
	measure := func(member bool, change func()) {
		began := time.Now()
		change()
		c.await(name, private, member)
		took = append(took, time.Since(began))
	}
	for i := range rounds {
		newcomer.State, newcomer.StartedAt = platform.InstanceRunning, time.Unix(int64(5000+i), 0)
		r.Put(newcomer)
		measure(true, func() { r.Observe(newcomer.ID, newcomer.StartedAt, platform.Observation{Ready: true}) })
		newcomer.State = platform.InstanceDraining
		measure(false, func() { r.Put(newcomer) })
		r.Delete(newcomer.ID)
	}
	median := report(t, fmt.Sprintf("roster change to DNS answer, beside %d containers", others), took)
	if median >= promised {
		t.Errorf("the median is %v, promised are less than %v", median, promised)
	}
}

// TestListenToAnswer measures how long after a program has begun to listen,
// which nobody tells us, a client finds it under the name of its type.
func TestListenToAnswer(t *testing.T) {
	const rounds = 50
	r := roster.New()
	c := newClient(t, r)
	// The resolver's own sockets are bound to one address there, and make
	// nobody ready.
	ns := c.lab.Server()
	observer, err := discovery.New(discovery.Config{Roster: r, SettleTime: time.Hour, Log: c.log})
	if err != nil {
		t.Fatal(err)
	}
	c.run(observer.Run)
	const name, private = "api.shop-app.internal.", "10.240.0.2"
	var took []time.Duration
	for i := range rounds {
		inst := instance("a", red, shop, "shop-app", "api", 1, private, "127.0.9.9", unready)
		inst.StartedAt, inst.NetnsPath = time.Now(), ns.Path()
		r.Put(inst)
		c.await(name, private, false)
		// It listens at no particular moment of the observer's looks.
		time.Sleep(time.Duration(i) * time.Millisecond)
		l, err := ns.Listen("tcp", "0.0.0.0:7000")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c.await(name, private, true)
		took = append(took, time.Since(began))
		l.Close()
		r.Delete(inst.ID)
	}
	if median := report(t, "listening to DNS answer", took); median >= noticed {
		t.Errorf("the median is %v, want less than %v", median, noticed)
	}
}

func report(t *testing.T, what string, took []time.Duration) (median time.Duration) {
	slices.Sort(took)
	median = took[len(took)/2]
	t.Logf("%s: median %v, 95th percentile %v, slowest %v, of %d changes", what, median, took[len(took)*95/100], took[len(took)-1], len(took))
	return median
}

// client is a container that asks a resolver on the other side of a wire.
type client struct {
	t    *testing.T
	lab  *lab.Lab
	log  *slog.Logger
	conn *dns.Conn
}

func newClient(t *testing.T, r *roster.Roster) *client {
	t.Helper()
	lab.NeedRoot(t)
	l := lab.Start(t, lab.Options{})
	c := &client{t: t, lab: l, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	r.Put(instance("client", red, idle, "idle-app", "job", 1, "10.240.3.250", lab.InternetAddr))
	_, d := world()
	var res *Resolver
	if err := lab.Do(l.Server(), func() (err error) {
		res, err = New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort(lab.ServerAddr + ":53")}, QuestionRate: 1e6, Roster: r, Directory: d, Log: c.log})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.run(res.Run)
	conn, err := l.Internet().Dial(t.Context(), "udp", net.JoinHostPort(lab.ServerAddr, "53"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c.conn = &dns.Conn{Conn: conn, UDPSize: maxUDP}
	return c
}

// run runs something until the test ends.
func (c *client) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	})
}

// await asks again and again until an address is among the answers, or not
// any more.
func (c *client) await(name, addr string, member bool) {
	c.t.Helper()
	m := message(name, dns.TypeA)
	m.SetEdns0(maxUDP, false)
	if err := c.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	for {
		m.Id = dns.Id()
		if err := c.conn.WriteMsg(m); err != nil {
			c.t.Fatal(err)
		}
		reply, err := c.conn.ReadMsg()
		if err != nil {
			c.t.Fatalf("waiting for %s in %s to be %v: %v", addr, name, member, err)
		}
		if reply.Id == m.Id && slices.Contains(addrsIn(reply), addr) == member {
			return
		}
	}
}
