package privnet

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// The addresses a container may have, 1022 in all: the network's and the
// broadcast address are left out, and there is no gateway.
var (
	FirstAddr = netip.MustParseAddr("10.240.0.1")
	LastAddr  = netip.MustParseAddr("10.240.3.254")
)

// Capacity is how many endpoints fit into one network.
const Capacity = 1022

// MinRest is how long a released address is not given to another endpoint:
// long enough for names (TTL 5 s), open connections and look-ups in progress
// to forget its last holder.
const MinRest = 60 * time.Second

// FullError says that a network has no address to give; its text tells why and
// what to do.
type FullError struct {
	Usage
	// Next is how long it takes until the next address has rested; 0 when none
	// rests.
	Next time.Duration
}

func (e *FullError) Error() string {
	if e.Next == 0 {
		return fmt.Sprintf("private network is full: all %d addresses are in use; scale down or remove a process type of this project, or move an app to another project", Capacity)
	}
	return fmt.Sprintf("private network is full: %d addresses are in use and %d were released less than %v ago; the next is free in %v",
		e.Used, e.Resting, MinRest, max(e.Next.Round(time.Second), time.Second))
}

// Pool hands out the addresses of the networks of a node. It keeps no state
// outside the process: at start, reserve what runs already. Safe for
// concurrent use.
//
// Addresses are handed out in rising order, never-used ones first, then those
// released longest ago.
type Pool struct {
	now func() time.Time

	mu       sync.Mutex
	networks map[uint32]*addresses
}

// NewPool returns a pool in which every address is free. The clock is
// time.Now, except in tests.
func NewPool(now func() time.Time) *Pool {
	return &Pool{now: now, networks: make(map[uint32]*addresses)}
}

// Allocate takes an address of the network that nobody has. The error is a
// *FullError when there is none.
func (p *Pool) Allocate(network uint32) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.network(network).take(p.now())
	if err != nil {
		return netip.Addr{}, err
	}
	return number(n), nil
}

// Reserve takes this very address, which an endpoint has already: for what
// runs when the process starts. It is an error if somebody has it.
func (p *Pool) Reserve(network uint32, addr netip.Addr) error {
	if !assignable(addr) {
		return fmt.Errorf("cannot reserve %s: not an address of a container (%s to %s)", addr, FirstAddr, LastAddr)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.network(network).reserve(index(addr))
}

// Release gives an address back, which rests then. Releasing one that nobody
// has does nothing.
func (p *Pool) Release(network uint32, addr netip.Addr) {
	if !assignable(addr) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network(network).release(index(addr), p.now())
}

// Return is Release for an address that nobody came to know: it need not rest.
func (p *Pool) Return(network uint32, addr netip.Addr) {
	if !assignable(addr) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network(network).giveBack(index(addr))
}

// Used returns the addresses in use in a network, in order.
func (p *Pool) Used(network uint32) []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.network(network)
	used := make([]netip.Addr, 0, a.count)
	for n, state := range a.state {
		if state == inUse {
			used = append(used, number(n))
		}
	}
	return used
}

// Usage returns how full a network is.
func (p *Pool) Usage(network uint32) Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.network(network)
	return Usage{Used: a.count, Resting: a.resting(p.now())}
}

// Usage is how many of a network's Capacity addresses are taken.
type Usage struct {
	Used    int // held by an endpoint
	Resting int // released less than MinRest ago
}

// Warn says that the network is at least 80 % in use: tell its owner before
// the next start fails.
func (u Usage) Warn() bool { return u.Used*100 >= Capacity*80 }

// String returns the usage in words.
func (u Usage) String() string {
	return fmt.Sprintf("%d of %d addresses in use", u.Used, Capacity)
}

func (p *Pool) network(key uint32) *addresses {
	a := p.networks[key]
	if a == nil {
		a = new(addresses)
		p.networks[key] = a
	}
	return a
}

type addressState uint8

const (
	free addressState = iota
	inUse
	rested // in the freed queue, whether its time is over or not
)

// addresses are those of one network, by index from FirstAddr.
type addresses struct {
	state [Capacity]addressState
	count int // inUse
	// next is where the search for a never-used address begins. A
	// reservation moves it beyond itself: after a restart we do not know
	// what was released just before, and it was not up there.
	next  int
	freed []freedAddress // longest ago first
}

type freedAddress struct {
	index int
	at    time.Time
}

func (a *addresses) take(now time.Time) (int, error) {
	for i := range Capacity {
		n := (a.next + i) % Capacity
		if a.state[n] == free {
			a.hold(n)
			return n, nil
		}
	}
	if len(a.freed) > 0 && now.Sub(a.freed[0].at) >= MinRest {
		n := a.freed[0].index
		a.freed = a.freed[1:]
		a.hold(n)
		return n, nil
	}
	full := &FullError{Usage: Usage{Used: a.count, Resting: len(a.freed)}}
	if len(a.freed) > 0 {
		full.Next = MinRest - now.Sub(a.freed[0].at)
	}
	return 0, full
}

func (a *addresses) reserve(n int) error {
	switch a.state[n] {
	case inUse:
		return fmt.Errorf("cannot reserve %s: in use already", number(n))
	case rested:
		for i, f := range a.freed {
			if f.index == n {
				a.freed = append(a.freed[:i:i], a.freed[i+1:]...)
				break
			}
		}
	}
	next := a.next
	a.hold(n)
	a.next = max(next, n+1)
	return nil
}

func (a *addresses) hold(n int) {
	a.state[n] = inUse
	a.count++
	a.next = n + 1
}

func (a *addresses) release(n int, now time.Time) {
	if a.state[n] != inUse {
		return
	}
	a.state[n] = rested
	a.count--
	a.freed = append(a.freed, freedAddress{n, now})
}

func (a *addresses) giveBack(n int) {
	if a.state[n] == inUse {
		a.state[n] = free
		a.count--
	}
}

func (a *addresses) resting(now time.Time) int {
	n := 0
	for _, f := range a.freed {
		if now.Sub(f.at) < MinRest {
			n++
		}
	}
	return n
}

func assignable(addr netip.Addr) bool {
	return addr.Is4() && addr.Compare(FirstAddr) >= 0 && addr.Compare(LastAddr) <= 0
}

// index and number translate between an address and its place in a network.
// The four bytes are one number: octet by octet goes wrong beyond a /24.
func index(addr netip.Addr) int { return int(value(addr) - value(FirstAddr)) }

func number(n int) netip.Addr {
	v := value(FirstAddr) + uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

func value(addr netip.Addr) uint32 {
	a := addr.As4()
	return uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
}
