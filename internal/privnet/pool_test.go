package privnet

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a clock that goes when told.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func allocate(t *testing.T, p *Pool, network uint32) netip.Addr {
	t.Helper()
	addr, err := p.Allocate(network)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestPoolHandsOutEveryAddressOnce(t *testing.T) {
	p := NewPool(newClock().now)
	seen := make(map[netip.Addr]bool)
	want := FirstAddr
	for i := range Capacity {
		got := allocate(t, p, 7)
		if got != want {
			t.Fatalf("address %d is %s, want %s", i, got, want)
		}
		if seen[got] || !Prefix.Contains(got) {
			t.Fatalf("%s again, or outside %s", got, Prefix)
		}
		seen[got] = true
		want = want.Next()
	}
	if want != LastAddr.Next() {
		t.Errorf("the last address was %s, want %s", want.Prev(), LastAddr)
	}
	_, err := p.Allocate(7)
	if !errors.As(err, new(*FullError)) || !strings.Contains(err.Error(), "all 1022 addresses are in use; scale down") {
		t.Errorf("one more: %v", err)
	}
	if got := allocate(t, p, 8); got != FirstAddr {
		t.Errorf("another network starts at %s, want %s", got, FirstAddr)
	}
}

func TestPoolLetsReleasedAddressesRest(t *testing.T) {
	clock := newClock()
	p := NewPool(clock.now)
	for range Capacity {
		allocate(t, p, 1)
	}
	second, first := FirstAddr.Next(), LastAddr
	p.Release(1, first)
	clock.pass(10 * time.Second)
	p.Release(1, second)
	p.Release(1, second) // twice is once

	clock.pass(MinRest - 10*time.Second - time.Nanosecond)
	_, err := p.Allocate(1)
	var full *FullError
	if !errors.As(err, &full) || full.Next != time.Nanosecond || !strings.Contains(err.Error(), "1020 addresses are in use and 2 were released less than 1m0s ago") {
		t.Errorf("before the rest is over: %v", err)
	}
	if u := p.Usage(1); u.Used != 1020 || u.Resting != 2 {
		t.Errorf("usage %+v", u)
	}
	clock.pass(time.Nanosecond)
	if got := allocate(t, p, 1); got != first {
		t.Errorf("got %s, want the one released first, %s", got, first)
	}
	if _, err := p.Allocate(1); !errors.As(err, new(*FullError)) {
		t.Errorf("the second one has not rested: %v", err)
	}
	clock.pass(10 * time.Second)
	if got := allocate(t, p, 1); got != second {
		t.Errorf("got %s, want %s", got, second)
	}
}

func TestPoolDoesNotLetReturnedAddressesRest(t *testing.T) {
	p := NewPool(newClock().now)
	for range Capacity {
		allocate(t, p, 1)
	}
	back := FirstAddr.Next()
	p.Return(1, back)
	p.Return(1, back)
	if u := p.Usage(1); u.Used != Capacity-1 || u.Resting != 0 {
		t.Errorf("usage %+v", u)
	}
	if got := allocate(t, p, 1); got != back {
		t.Errorf("got %s, want %s", got, back)
	}
	p.Return(1, netip.MustParseAddr("10.240.4.1")) // none of ours
	if _, err := p.Allocate(1); !errors.As(err, new(*FullError)) {
		t.Errorf("it is full again: %v", err)
	}
}

func TestPoolPrefersNeverUsedAddresses(t *testing.T) {
	clock := newClock()
	p := NewPool(clock.now)
	first := allocate(t, p, 1)
	p.Release(1, first)
	clock.pass(time.Hour)
	if got := allocate(t, p, 1); got != first.Next() {
		t.Errorf("got %s, want %s", got, first.Next())
	}
}

func TestPoolReserve(t *testing.T) {
	p := NewPool(newClock().now)
	at := netip.MustParseAddr("10.240.1.255")
	if err := p.Reserve(1, at); err != nil {
		t.Fatal(err)
	}
	if err := p.Reserve(1, at); err == nil {
		t.Error("reserved twice")
	}
	if err := p.Reserve(2, at); err != nil {
		t.Errorf("in another network: %v", err)
	}
	// What was released just before the restart was below it.
	if got, want := allocate(t, p, 1), at.Next(); got != want {
		t.Errorf("after a reservation: %s, want %s", got, want)
	}
	p.Release(1, at)
	if err := p.Reserve(1, at); err != nil {
		t.Errorf("a resting address can be reserved: %v", err)
	}
	for _, bad := range []string{"10.240.0.0", "10.240.3.255", "10.240.4.1", "10.239.255.255", "::1", "::ffff:10.240.0.1"} {
		if err := p.Reserve(1, netip.MustParseAddr(bad)); err == nil {
			t.Errorf("reserved %s", bad)
		}
	}
	if err := p.Reserve(1, netip.Addr{}); err == nil {
		t.Error("reserved no address")
	}
	p.Release(1, netip.MustParseAddr("10.240.3.255")) // ignored
	if got, want := p.Used(1), []netip.Addr{at, at.Next()}; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("used %v, want %v", got, want)
	}
}

// Addresses below a reservation are found too, before any is used again.
func TestPoolWrapsAround(t *testing.T) {
	p := NewPool(newClock().now)
	if err := p.Reserve(1, LastAddr); err != nil {
		t.Fatal(err)
	}
	if got := allocate(t, p, 1); got != FirstAddr {
		t.Errorf("got %s, want %s", got, FirstAddr)
	}
}

func TestUsageWarns(t *testing.T) {
	for used, want := range map[int]bool{0: false, 817: false, 818: true, Capacity: true} {
		if got := (Usage{Used: used}).Warn(); got != want {
			t.Errorf("Warn at %d is %v", used, got)
		}
	}
}

func TestPoolConcurrently(t *testing.T) {
	clock := newClock()
	p := NewPool(clock.now)
	var mu sync.Mutex
	holders := make(map[netip.Addr]bool)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				addr, err := p.Allocate(1)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if holders[addr] {
					t.Errorf("%s has two holders", addr)
				}
				holders[addr] = true
				mu.Unlock()

				mu.Lock()
				delete(holders, addr)
				mu.Unlock()
				p.Release(1, addr)
				clock.pass(MinRest)
			}
		})
	}
	wg.Wait()
	if got := p.Usage(1).Used; got != 0 {
		t.Errorf("%d addresses leaked", got)
	}
}
