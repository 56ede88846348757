package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// answer is what the resolver said, and when it was asked: what it says is at
// least that new.
type answer struct {
	at    time.Time
	addrs []netip.Addr
}

// answers holds the last one.
type answers struct {
	sync.Mutex
	last answer
}

func (s *answers) set(a answer) {
	s.Lock()
	defer s.Unlock()
	s.last = a
}

// use returns the last answer that may still be used. It waits for one, as a
// client waits for its resolver; that there is no address needs no waiting.
func (s *answers) use(deadline time.Time) (answer, error) {
	for {
		s.Lock()
		last := s.last
		s.Unlock()
		now := time.Now()
		switch fresh := now.Sub(last.at) < ttl; {
		case fresh && len(last.addrs) > 0:
			return last, nil
		case fresh:
			return last, errors.New("the name has no address")
		case now.After(deadline):
			return last, errors.New("the resolver does not answer")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// resolve asks for the name again and again. A question without an answer is
// repeated.
func (l *loader) resolve() {
	for next := time.Now(); ; next = next.Add(l.every) {
		time.Sleep(time.Until(next))
		for {
			at := time.Now()
			addrs, err := lookup(l.name)
			if err == nil {
				l.answers.set(answer{at, addrs})
				break
			}
			time.Sleep(watchEvery)
		}
	}
}

// watch notes when the name's addresses change.
func (l *loader) watch() {
	var last []netip.Addr
	var noted *phase
	for ; ; time.Sleep(watchEvery) {
		at := time.Now()
		addrs, err := lookup(l.name)
		if err != nil {
			continue
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		p := l.present()
		if p != noted || !slices.Equal(addrs, last) {
			p.saw(sight{At: at, Until: time.Now(), Addrs: addrs})
		}
		last, noted = addrs, p
	}
}

// lookup asks the resolver of /etc/resolv.conf. A name without addresses is an
// answer, not an error.
func lookup(name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	var failed *net.DNSError
	if errors.As(err, &failed) && failed.IsNotFound {
		return nil, nil
	}
	return addrs, err
}
