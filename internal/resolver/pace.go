package resolver

import (
	"net/netip"
	"sync"
	"time"
)

// Questions by TCP that one container may ask, on all its connections
// together: as many as the rules of the outside network let it ask by UDP (see
// outside.Config), which is a small part of what one CPU can answer. No rule
// of the kernel's can count them: many questions come in one packet.
const (
	streamQuestionRate  = 5_000
	streamQuestionBurst = 500
)

// pace slows down who asks too much by TCP. Unlike UDP nothing is lost: the
// question waits, and the kernel makes the sender wait behind it.
type pace struct {
	interval, burst time.Duration

	mu     sync.Mutex
	askers map[netip.Addr]paced
}

// paced is when an asker's questions so far are due at the agreed rate, and
// how many of them had to wait.
type paced struct {
	due    time.Time
	waited uint64
}

func newPace(rate, burst int) *pace {
	interval := time.Second / time.Duration(rate)
	return &pace{interval: interval, burst: time.Duration(burst) * interval, askers: map[netip.Addr]paced{}}
}

// next counts a question that arrives now, and returns how long it has to
// wait. Each of an asker's connections has one that waits, so that is never
// long.
func (p *pace) next(who netip.Addr, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.askers[who]
	if a.due.Before(now) {
		a.due = now
	}
	ahead := a.due.Sub(now) - p.burst
	if ahead > 0 {
		a.waited++
	}
	a.due = a.due.Add(p.interval)
	p.askers[who] = a
	return max(ahead, 0)
}

// forget drops those who asked nothing since a time: addresses are used
// again, by others.
func (p *pace) forget(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for who, a := range p.askers {
		if a.due.Before(since) {
			delete(p.askers, who)
		}
	}
}

// waited returns how many questions of each asker had to wait.
func (p *pace) waited() map[netip.Addr]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[netip.Addr]uint64{}
	for who, a := range p.askers {
		if a.waited > 0 {
			out[who] = a.waited
		}
	}
	return out
}
