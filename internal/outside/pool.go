package outside

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// MinRest is how long a released address is not given to another container,
// so that connections and look-ups under way forget its last holder.
const MinRest = 60 * time.Second

// FullError says that there is no room for one more container; its text tells
// why and what to do.
type FullError struct {
	// Next is how long it takes until the next address has rested; 0 when that
	// is not what is waited for.
	Next   time.Duration
	reason string
}

func (e *FullError) Error() string { return e.reason }

// Pool hands out the addresses of a range. It keeps no state outside the
// process: at start, reserve what runs already. It is safe for concurrent
// use.
type Pool struct {
	first, last uint32
	now         func() time.Time

	mu   sync.Mutex
	used map[uint32]bool
	// next is the lowest address that was never handed out; rested are those
	// that were released, longest ago first.
	next   uint32
	rested []rested
}

type rested struct {
	addr  uint32
	since time.Time
}

// NewPool returns a pool of all addresses of a range but the network's, the
// gateway's and the broadcast address. The clock is time.Now, except in
// tests.
func NewPool(prefix netip.Prefix, now func() time.Time) *Pool {
	first := number(prefix.Masked().Addr()) + 2
	return &Pool{first: first, last: number(last(prefix)) - 1, now: now, used: map[uint32]bool{}, next: first}
}

// Allocate takes an address nobody has. The error is a *FullError when there is
// none.
func (p *Pool) Allocate() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; p.next <= p.last; p.next++ {
		if !p.used[p.next] && !p.isResting(p.next) {
			p.used[p.next] = true
			p.next++
			return address(p.next - 1), nil
		}
	}
	for i, r := range p.rested {
		if p.now().Sub(r.since) >= MinRest {
			p.rested = append(p.rested[:i:i], p.rested[i+1:]...)
			p.used[r.addr] = true
			return address(r.addr), nil
		}
	}
	full := &FullError{reason: fmt.Sprintf("the outside network has no free address: %d are in use, %d were freed less than %v ago; set a larger range with --outside-prefix", len(p.used), len(p.rested), MinRest)}
	if len(p.rested) > 0 {
		full.Next = MinRest - p.now().Sub(p.rested[0].since)
	}
	return netip.Addr{}, full
}

// Reserve takes this very address, which a container has already.
func (p *Pool) Reserve(addr netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := number(addr)
	if n < p.first || n > p.last {
		return fmt.Errorf("cannot reserve %s: no container of this range can have it", addr)
	}
	if p.used[n] {
		return fmt.Errorf("cannot reserve %s: another container has it", addr)
	}
	p.used[n] = true
	for i, r := range p.rested {
		if r.addr == n {
			p.rested = append(p.rested[:i:i], p.rested[i+1:]...)
			break
		}
	}
	return nil
}

// Release gives an address back, which rests then. Releasing one that nobody
// has does nothing.
func (p *Pool) Release(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := number(addr); p.used[n] {
		delete(p.used, n)
		p.rested = append(p.rested, rested{n, p.now()})
	}
}

// Return is Release for an address that nobody came to know: it need not rest.
func (p *Pool) Return(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := number(addr); p.used[n] {
		delete(p.used, n)
		p.next = min(p.next, n)
	}
}

// Private

func (p *Pool) isResting(n uint32) bool {
	for _, r := range p.rested {
		if r.addr == n {
			return true
		}
	}
	return false
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
