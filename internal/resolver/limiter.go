package resolver

import (
	"net/netip"
	"sync"
)

// limiter bounds how many things are under way, in all and per asker.
type limiter struct {
	all, each int

	mu    sync.Mutex
	total int
	per   map[netip.Addr]int
}

func newLimiter(all, each int) *limiter {
	return &limiter{all: all, each: each, per: map[netip.Addr]int{}}
}

// enter reports whether one more may start; then leave must follow.
func (l *limiter) enter(who netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.all || l.per[who] >= l.each {
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
