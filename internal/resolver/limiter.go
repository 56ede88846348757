package resolver

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// limiter bounds how many things are under way, in all and per asker. The
// less is free, the less one asker may have: however many askers are greedy,
// the next one finds a place.
type limiter struct {
	all, each int
	refused   atomic.Uint64

	mu    sync.Mutex
	total int
	per   map[netip.Addr]int
}

func newLimiter(all, each int) *limiter {
	return &limiter{all: all, each: each, per: map[netip.Addr]int{}}
}

// share is the part of what is free that one asker may have.
const share = 4

// enter reports whether one more may start; then leave must follow.
func (l *limiter) enter(who netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	free := l.all - l.total
	if free <= 0 || l.per[who] >= min(l.each, max(free/share, 1)) {
		l.refused.Add(1)
		return false
	}
	l.total++
	l.per[who]++
	return true
}

func (l *limiter) leave(who netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.per[who]--; l.per[who] == 0 {
		delete(l.per, who)
	}
}
