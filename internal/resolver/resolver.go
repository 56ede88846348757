package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

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
	Roster         *roster.Roster
	Directory      *directory.Directory
	// Log defaults to slog.Default().
	Log *slog.Logger
}

// Resolver is a DNS server for containers. Make one with New, then Run it.
type Resolver struct {
	log       *slog.Logger
	roster    *roster.Roster
	directory *directory.Directory
	outside   netip.Prefix
	upstreams *upstreams
	sockets   []*socket

	index   atomic.Pointer[index]
	rebuild sync.Mutex

	// forwards bounds questions that wait for an upstream, streams the open
	// TCP connections; both per asker too, so that one container can't take
	// name resolution away from the others.
	forwards *limiter
	streams  *limiter
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
	for _, up := range cfg.Upstreams {
		if slices.Contains(cfg.Listen, up) {
			return nil, fmt.Errorf("cannot use %s as upstream resolver: it is the address this resolver listens on, and questions would go round in circles", up)
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
		upstreams: newUpstreams(cfg.Upstreams),
		forwards:  newLimiter(maxForwards, maxForwardsPerAsker),
		streams:   newLimiter(maxStreams, maxStreamsPerAsker),
	}
	for _, addr := range cfg.Listen {
		s, err := openSocket(addr)
		if err != nil {
			r.close()
			return nil, err
		}
		r.sockets = append(r.sockets, s)
	}
	r.current()
	return r, nil
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
	ix := buildIndex(r.roster, r.directory)
	r.index.Store(ix)
	return ix
}
