package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/roster"
)

// DefaultOutsideNetwork is the range of the containers' eth0 addresses.
var DefaultOutsideNetwork = netip.MustParsePrefix("172.17.0.0/16")

// Config is what a Resolver needs. Roster and Directory are required.
type Config struct {
	// Listen are the addresses to serve on, UDP and TCP each; concrete
	// addresses, so that answers leave from the address that was asked. Port
	// 0 picks a free one (see Addrs).
	Listen []netip.AddrPort
	// Upstreams are the resolvers for outside names, in order of preference;
	// see ReadResolvConf. Without any, outside names get SERVFAIL.
	Upstreams []netip.AddrPort
	// OutsideNetwork is the range whose reverse names stay here; the zero
	// value means DefaultOutsideNetwork.
	OutsideNetwork netip.Prefix
	// QuestionRate is how many UDP questions one container may ask in a
	// second; more are dropped. 0 means 10000, enough for 5000 new
	// connections by name in each. Of questions by TCP, 5000 are answered in a
	// second; more wait.
	QuestionRate int
	Roster       *roster.Roster
	Directory    *directory.Directory
	// Log defaults to slog.Default().
	Log *slog.Logger
}

// Resolver is a DNS server for containers. Make one with New, then Run it.
type Resolver struct {
	log       *slog.Logger
	roster    *roster.Roster
	directory *directory.Directory
	outside   netip.Prefix
	upstreams atomic.Pointer[upstreams]
	listen    []netip.AddrPort
	sockets   []*socket

	index   atomic.Pointer[index]
	rebuild sync.Mutex

	// forwards bounds questions that wait for an upstream, streams the open
	// TCP connections; both per asker too, so that one container can't take
	// name resolution away from the others.
	forwards *limiter
	streams  *limiter
	// pace bounds how fast questions are taken from an asker's TCP
	// connections.
	pace *pace

	// guard is nil where the kernel does not allow it (tests without root).
	guard   *guard
	closing sync.Once

	forwarded, unanswered atomic.Uint64
}

// Counters says what happened since the start.
type Counters struct {
	// Forwarded counts questions that were sent to an upstream, Unanswered
	// those of them that none answered (SERVFAIL).
	Forwarded, Unanswered uint64
	// RefusedQuestions counts outside names that got SERVFAIL, and
	// RefusedStreams TCP connections that were closed, because the asker, or
	// all askers together, had too many under way.
	RefusedQuestions, RefusedStreams uint64
	// Dropped counts UDP questions that came faster than an asker may ask, by
	// source address; only recent askers are in it.
	Dropped map[netip.Addr]uint64
	// Delayed counts TCP questions that waited because they came faster than
	// an asker may ask, likewise.
	Delayed map[netip.Addr]uint64
}

// Counters may be called at any time.
func (r *Resolver) Counters() Counters {
	c := Counters{
		Forwarded: r.forwarded.Load(), Unanswered: r.unanswered.Load(),
		RefusedQuestions: r.forwards.refused.Load(), RefusedStreams: r.streams.refused.Load(),
		Delayed: r.pace.waited(),
	}
	if r.guard != nil {
		var err error
		if c.Dropped, err = r.guard.dropped(); err != nil {
			r.log.Warn("Some counters of the resolver are missing", "error", err)
		}
	}
	return c
}

// Limits of what askers can make the resolver hold at the same time.
const (
	maxForwards         = 1024
	maxForwardsPerAsker = 128
	maxStreams          = 512
	maxStreamsPerAsker  = 32
)

// New checks the configuration and opens the sockets, in the network
// namespace of the calling thread; the kernel queues questions until Run.
func New(cfg Config) (*Resolver, error) {
	if cfg.Roster == nil || cfg.Directory == nil {
		return nil, fmt.Errorf("cannot start the resolver: it needs a roster and a directory")
	}
	if len(cfg.Listen) == 0 {
		return nil, fmt.Errorf("cannot start the resolver: no address to listen on was given")
	}
	for _, addr := range cfg.Listen {
		if !addr.Addr().Is4() {
			return nil, fmt.Errorf("cannot serve names on %s: containers have IPv4 only, give an IPv4 address", addr)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if !cfg.OutsideNetwork.IsValid() {
		cfg.OutsideNetwork = DefaultOutsideNetwork
	}
	r := &Resolver{
		log:       cfg.Log,
		roster:    cfg.Roster,
		directory: cfg.Directory,
		outside:   cfg.OutsideNetwork.Masked(),
		listen:    cfg.Listen,
		forwards:  newLimiter(maxForwards, maxForwardsPerAsker),
		streams:   newLimiter(maxStreams, maxStreamsPerAsker),
		pace:      newPace(streamQuestionRate, streamQuestionBurst),
	}
	if err := r.SetUpstreams(cfg.Upstreams); err != nil {
		return nil, err
	}
	for _, addr := range cfg.Listen {
		s, err := openSocket(addr)
		if err != nil {
			r.close()
			return nil, err
		}
		r.sockets = append(r.sockets, s)
	}
	if err := r.protect(cfg.QuestionRate); err != nil {
		r.close()
		return nil, err
	}
	r.current()
	return r, nil
}

// protect lets each asker ask only so many questions in a second.
func (r *Resolver) protect(rate int) error {
	if rate == 0 {
		rate = defaultQuestionRate
	}
	g, err := openGuard(rate)
	if errors.Is(err, os.ErrPermission) {
		r.log.Warn("Containers that flood the resolver can crowd out the others' questions: the filter against it needs root", "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot protect the resolver from floods: %w", err)
	}
	r.guard = g
	for _, s := range r.sockets {
		if err := g.attach(s.udp); err != nil {
			return err
		}
	}
	return nil
}

// Addrs returns the addresses served, in the order of Config.Listen.
func (r *Resolver) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(r.sockets))
	for _, s := range r.sockets {
		addrs = append(addrs, s.addr)
	}
	return addrs
}

// Run serves until ctx ends, then closes the sockets. It may be called once.
// It returns nil after ctx ended, else the error that stopped a socket.
func (r *Resolver) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, s := range r.sockets {
		r.serve(ctx, &wg, s, cancel)
	}
	wg.Go(func() { r.follow(ctx) })
	wg.Go(func() { r.report(ctx) })
	<-ctx.Done()
	r.close()
	wg.Wait()
	if err := context.Cause(ctx); err != context.Canceled && err != context.DeadlineExceeded {
		return err
	}
	return nil
}

func (r *Resolver) close() {
	for _, s := range r.sockets {
		s.close()
	}
	r.closing.Do(func() {
		if r.guard != nil {
			r.guard.close()
		}
	})
}

// follow rebuilds the index as soon as something changed, so that questions
// seldom find it stale.
func (r *Resolver) follow(ctx context.Context) {
	for {
		ix := r.current()
		select {
		case <-ctx.Done():
			return
		case <-ix.rosterChanged:
		case <-ix.directoryChanged:
		}
	}
}

// reportEvery bounds how often the log says that somebody asks too much.
const reportEvery = 30 * time.Second

// report says in the log who lost questions or had to wait, so that a
// container which asks so much by mistake is found.
func (r *Resolver) report(ctx context.Context) {
	said := Counters{}
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.pace.forget(time.Now().Add(-reportEvery))
		now := r.Counters()
		for source, n := range now.Dropped {
			if n > said.Dropped[source] {
				r.log.Warn("A container asks for names faster than it may; questions were dropped", "container", r.current().describe(source), "address", source, "dropped", n-said.Dropped[source])
			}
		}
		for source, n := range now.Delayed {
			if n > said.Delayed[source] {
				r.log.Warn("A container asks for names by TCP faster than it may; questions had to wait", "container", r.current().describe(source), "address", source, "waited", n-said.Delayed[source])
			}
		}
		if now.RefusedQuestions > said.RefusedQuestions || now.RefusedStreams > said.RefusedStreams {
			r.log.Warn("Containers have too many questions for outside names or connections to the resolver under way; some were refused",
				"questions", now.RefusedQuestions-said.RefusedQuestions, "connections", now.RefusedStreams-said.RefusedStreams)
		}
		said = now
	}
}

// current returns an index that holds every change made before the call.
func (r *Resolver) current() *index {
	if ix := r.index.Load(); ix != nil && !ix.stale() {
		return ix
	}
	r.rebuild.Lock()
	defer r.rebuild.Unlock()
	if ix := r.index.Load(); ix != nil && !ix.stale() {
		return ix
	}
	ix := makeIndex(r.roster, r.directory)
	r.index.Store(ix)
	return ix
}
