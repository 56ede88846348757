package attack

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/attack/order"
	"github.com/atollhq/atoll/e2e/rig"
)

// floodTime is how long each flood lasts.
const floodTime = 2 * time.Second

// What a flood may cost neighbours, compared with an attacker that only burns
// as much of the CPU, before it and after it: medians were 0.4 to 4 times as
// long, in some runs. The suite's machine has few CPUs and much to do beside, so
// more is let pass. Below the floors, times say more about what else runs there.
// A flood that hurts makes it hundreds of times as long, or lets it fail.
const (
	medianFactor, medianFloor = 10, 10 * time.Millisecond
	tailFactor, tailFloor     = 20, 40 * time.Millisecond
)

// namesOutside are as fast as the upstream resolver, which the laboratory runs
// in the process of the tests: a neighbour's must be answered, no more.
const namesOutside = "names outside"

// loads are what neighbours do meanwhile.
func (s *siege) loads() map[string]struct {
	who  party
	load order.Load
} {
	type load = struct {
		who  party
		load order.Load
	}
	return map[string]load{
		"private connections": {s.neighbour, order.Load{Kind: order.Echo, Target: at(s.frontend.pn0, 8080)}},
		"private names":       {s.strangers[0], order.Load{Kind: order.Resolve, Target: "172.17.0.1:53", Name: "api.attack-stranger.internal."}},
		namesOutside:          {s.strangers[2], order.Load{Kind: order.Resolve, Target: "172.17.0.1:53", Name: "echo.example."}},
		"the internet":        {s.strangers[1], order.Load{Kind: order.Fetch, Target: "198.51.100.10:80"}},
	}
}

// measure is what neighbours find while the attacker does something.
func (s *siege) measure(t *testing.T, by post, o order.Order) (sent int, found map[string]order.Exchanges) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	found = map[string]order.Exchanges{}
	for name, l := range s.loads() {
		l.load.Every, l.load.For = 5*time.Millisecond, floodTime
		wg.Go(func() {
			out, err := l.who.plain.try(order.Order{Load: &l.load})
			mu.Lock()
			defer mu.Unlock()
			if found[name] = out.Exchanges; err != nil || out.Error != "" {
				t.Errorf("cannot measure %s: %v %s", name, err, out.Error)
			}
		})
	}
	out, err := by.try(o)
	wg.Wait()
	if err != nil || out.Error != "" {
		t.Fatalf("the flood failed: %v %s", err, out.Error)
	}
	return out.Sent, found
}

// floods are attacks by mere quantity.
func (s *siege) floods(t *testing.T) {
	flood := func(kind order.FloodKind, target string) order.Order {
		return order.Order{Flood: &order.Flood{Kind: kind, Target: target, For: floodTime}}
	}
	s.RoomForNeighbours(t)
	// The sniffers take more of the CPU than what they look at, and run where
	// the laboratory's internet answers.
	for _, w := range append([]*sniffer{s.bridge, s.internet, s.back, s.twin.sniffers["pn0"], s.twin.sniffers["eth0"]}, s.witnesses...) {
		w.close()
	}
	quietly := func(t *testing.T) map[string]order.Exchanges {
		_, found := s.measure(t, s.attacker.plain, flood(order.Spin, ""))
		return found
	}
	earlier := quietly(t)
	t.Run("twin", func(t *testing.T) { s.delayIsNoticed(t, earlier, quietly) })
	raw := func(a attack) order.Order {
		o := a.order(newMark())
		o.Raw.For, o.Raw.Times = floodTime, 1
		return o
	}
	sweeps := s.outsideSweeps()
	for _, f := range []struct {
		name   string
		by     post
		order  order.Order
		reason string // what must have been counted; empty when nothing needs to
	}{
		{"spoofed frames", s.attacker.granted, raw(s.privateSpoofs()[0]), "pn0 spoofed-ip"},
		{"ARP requests by pn0", s.attacker.granted, raw(s.privateSweep()), "pn0 arp-unknown"},
		{"ARP requests by eth0", s.attacker.granted, raw(sweeps[0]), "eth0 neighbour"},
		{"frames to every address by eth0", s.attacker.granted, raw(sweeps[1]), "eth0 neighbour"},
		{"packets to every address by the gateway", s.attacker.granted, raw(sweeps[2]), "eth0 neighbour"},
		{"datagrams to every address by pn0", s.attacker.plain, flood(order.Neighbours, "10.240.0.0/22"), "pn0 arp-unknown"},
		{"datagrams to every address by eth0", s.attacker.plain, flood(order.Neighbours, "172.17.0.0/16"), "eth0 neighbour"},
		// Before those that leave it no connections.
		{"questions by TCP", s.attacker.plain, flood(order.StreamQuestions, "172.17.0.1:53"), ""},
		{"connections", s.attacker.plain, flood(order.Connections, "198.51.100.10:80"), ""},
		{"flows (connection tracking)", s.attacker.plain, flood(order.Flows, "198.51.100.20:0"), "eth0 connections"},
		{"questions for names outside", s.attacker.plain, flood(order.Questions, "172.17.0.1:53"), "eth0 questions"},
		{"questions for private names", s.attacker.plain, flood(order.PrivateQuestions, "172.17.0.1:53"), "eth0 questions"},
	} {
		t.Run(f.name, func(t *testing.T) {
			before := readDrops(t, s.Machine)
			sent, found := s.measure(t, f.by, f.order)
			more := readDrops(t, s.Machine).since(before)
			later := quietly(t)
			quiet := slower(earlier, later)
			earlier = later
			if f.reason != "" && more[f.reason] == 0 {
				t.Errorf("counted: %s, want %s", more, f.reason)
			}
			for name, e := range found {
				compare(t, name, quiet[name], e)
			}
			p := found["private connections"]
			failed := 0
			for _, e := range found {
				failed += e.Failed
			}
			rig.Report(t, "attack: flood of "+f.name, "%d in %s, counted: %s; neighbours: %d failed, private p50 %s (quiet %s), p99 %s (quiet %s)", sent, floodTime, more,
				failed, short(p.P50), short(quiet["private connections"].P50), short(p.P99), short(quiet["private connections"].P99))
		})
	}
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// slower is what two quiet times say that the machine does without a flood.
func slower(a, b map[string]order.Exchanges) map[string]order.Exchanges {
	both := map[string]order.Exchanges{}
	for name, e := range a {
		e.P50, e.P95, e.P99 = max(e.P50, b[name].P50), max(e.P95, b[name].P95), max(e.P99, b[name].P99)
		both[name] = e
	}
	return both
}

func compare(t *testing.T, name string, quiet, now order.Exchanges) {
	t.Helper()
	t.Logf("%s: %d exchanges, p50 %s (quiet %s), p99 %s (quiet %s)", name, now.Count, short(now.P50), short(quiet.P50), short(now.P99), short(quiet.P99))
	if now.Failed > 0 || now.Count == 0 {
		t.Errorf("%s: %d of %d exchanges of a neighbour failed: %s", name, now.Failed, now.Count, now.Failure)
	}
	if name != namesOutside && suffers(quiet, now) {
		t.Errorf("%s: a neighbour waits p50 %s, p95 %s; %s and %s while it is quiet", name, now.P50, now.P95, quiet.P50, quiet.P95)
	}
}

// suffers judges by the median and the 95th percentile: of some hundred
// exchanges the 99th is the worst but one.
func suffers(quiet, now order.Exchanges) bool {
	return now.P50 > max(medianFactor*quiet.P50, medianFloor) || now.P95 > max(tailFactor*quiet.P95, tailFloor)
}

// delayIsNoticed slows the neighbour's own interface down: an exchange takes
// several times as long as it may while there is a flood.
func (s *siege) delayIsNoticed(t *testing.T, quiet map[string]order.Exchanges, measure func(*testing.T) map[string]order.Exchanges) {
	const load, exchange = "private connections", 300 // bytes that the neighbour sends in one, or more
	limit := max(medianFactor*quiet[load].P50, medianFloor)
	rate := exchange / (4 * limit).Seconds()
	tc := func(args ...string) error {
		out, err := exec.Command("nsenter", append([]string{"--net=" + s.neighbour.netns, "tc", "qdisc"}, args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("tc %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := tc("add", "dev", "pn0", "root", "tbf", "rate", fmt.Sprintf("%.0fbps", rate), "burst", "1600", "latency", "10s"); err != nil {
		t.Skipf("this machine cannot hold packets back, so nothing shows that a slow neighbour would be noticed: %v", err)
	}
	now := measure(t)
	if err := tc("del", "dev", "pn0", "root"); err != nil {
		t.Fatal(err)
	}
	if !suffers(quiet[load], now[load]) {
		t.Errorf("a neighbour that sends %.0f bytes a second has p50 %s (quiet %s): a flood that hurts would not be noticed", rate, now[load].P50, quiet[load].P50)
	}
	rig.Report(t, "attack: flood: (none) a slow neighbour", "noticed: private p50 %s (quiet %s)", short(now[load].P50), short(quiet[load].P50))
}
