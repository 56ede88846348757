package flows

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
)

// Switch counts; a *privnet.Switch is one.
type Switch interface {
	Flows(ctx context.Context) ([]privnet.Flow, error)
	DropEntries(ctx context.Context) ([]privnet.DropEntry, error)
}

// Roster shows what runs.
type Roster interface {
	Snapshot() ([]platform.Instance, <-chan struct{})
}

// Directory shows what apps are called now.
type Directory interface {
	Snapshot() (map[string]directory.App, <-chan struct{})
}

// Groups says whose process type a group of the switch is; groups are never
// used again, so it may know those of apps that are gone.
type Groups interface {
	Lookup(group uint32) (appID, processType string, ok bool)
}

// Config is what a Service needs.
type Config struct {
	Switch    Switch
	Roster    Roster
	Directory Directory
	Groups    Groups
	// Interval is the time between the looks of those who follow; 0 means 1 s.
	Interval time.Duration
	// Memory is how long a container that went away is remembered; 0 means
	// 15 minutes.
	Memory time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service names what the switch counted. It is safe for concurrent use.
type Service struct {
	Config
	tenants tenants

	mu    sync.Mutex // held while the switch is read
	flows []privnet.Flow
	read  time.Time
}

// New returns a Service. Run has to run for it to remember containers.
func New(cfg Config) *Service {
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	if cfg.Memory == 0 {
		cfg.Memory = 15 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{Config: cfg, tenants: tenants{byAddr: map[place][]tenant{}}}
}

// Flows returns the conversations of a network that the switch remembers, the
// latest first.
func (s *Service) Flows(ctx context.Context, network platform.PrivateNetwork) ([]platform.Flow, error) {
	raw, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	return s.named(raw, network), nil
}

// Drops returns what the switch dropped in a network, the latest first. It
// reads the switch anew each time: a diagnosis compares what was dropped before
// and after an attempt that may be over in no time.
func (s *Service) Drops(ctx context.Context, network platform.PrivateNetwork) ([]platform.Drop, error) {
	entries, err := s.Switch.DropEntries(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read what the switch dropped: %w", err)
	}
	name := s.namer(network)
	drops := []platform.Drop{}
	for _, e := range entries {
		if e.Network == network.Key {
			drops = append(drops, platform.Drop{From: name(e.From, e.FromGroup, e.LastSeen), To: name(e.To, 0, e.LastSeen),
				Reason: e.Reason.String(), Count: e.Count, LastSeen: e.LastSeen})
		}
	}
	slices.SortStableFunc(drops, func(a, b platform.Drop) int {
		return cmp.Or(b.LastSeen.Compare(a.LastSeen), a.From.Addr.Compare(b.From.Addr), a.To.Addr.Compare(b.To.Addr), cmp.Compare(a.Reason, b.Reason))
	})
	return drops, nil
}

// Follow calls fn, from one goroutine, with the conversations of a network
// that had traffic since the last call, counted since then, until ctx ends or
// fn fails; it returns that error. The first call comes at once and has
// nothing in it: from then on nothing is missed, and what came up to a quarter
// of an interval before may be told too.
func (s *Service) Follow(ctx context.Context, network platform.PrivateNetwork, fn func([]platform.Flow) error) error {
	raw, err := s.look(ctx)
	if err != nil {
		return err
	}
	before := counted(raw)
	if err := fn(nil); err != nil {
		return err
	}
	ticker := time.NewTicker(s.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if raw, err = s.look(ctx); err != nil {
			return err
		}
		if err := fn(s.named(since(raw, before), network)); err != nil {
			return err
		}
		before = counted(raw)
	}
}

// Run remembers who has which address, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	for {
		rows, changed := s.Roster.Snapshot()
		s.tenants.observe(rows, s.Now(), s.Memory)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Private

// look returns the switch's flows as they were a quarter of the interval ago at
// most.
func (s *Service) look(ctx context.Context) ([]privnet.Flow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.read.IsZero() && s.Now().Sub(s.read) < s.Interval/4 {
		return s.flows, nil
	}
	flows, err := s.Switch.Flows(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the flows of the switch: %w", err)
	}
	s.flows, s.read = flows, s.Now()
	return flows, nil
}

// named turns the flows of one network into what people read.
func (s *Service) named(raw []privnet.Flow, network platform.PrivateNetwork) []platform.Flow {
	name := s.namer(network)
	flows := []platform.Flow{}
	for _, f := range raw {
		if f.Network != network.Key {
			continue
		}
		flows = append(flows, platform.Flow{From: name(f.From, f.FromGroup, f.LastSeen), To: name(f.To, f.ToGroup, f.LastSeen),
			Service: platform.Service{Protocol: platform.Protocol(f.Protocol), Port: f.Port},
			Packets: f.Packets, Bytes: f.Bytes, ReplyPackets: f.ReplyPackets, ReplyBytes: f.ReplyBytes,
			Verdict: verdicts[f.Verdict], LastSeen: f.LastSeen})
	}
	slices.SortStableFunc(flows, func(a, b platform.Flow) int {
		return cmp.Or(b.LastSeen.Compare(a.LastSeen), a.From.Addr.Compare(b.From.Addr), a.To.Addr.Compare(b.To.Addr), cmp.Compare(a.Service.Port, b.Service.Port))
	})
	return flows
}

var verdicts = map[privnet.Verdict]platform.Verdict{privnet.Allowed: platform.Allowed, privnet.Denied: platform.Denied, privnet.WouldDeny: platform.WouldDeny}

// namer returns the function that names the addresses of a network by the
// group they had, 0 when it is not known, and when they were seen.
func (s *Service) namer(network platform.PrivateNetwork) func(netip.Addr, uint32, time.Time) platform.Member {
	rows, _ := s.Roster.Snapshot()
	s.tenants.observe(rows, s.Now(), s.Memory)
	apps, _ := s.Directory.Snapshot()
	return func(addr netip.Addr, group uint32, at time.Time) platform.Member {
		appID, processType, _ := s.Groups.Lookup(group)
		m := s.tenants.at(place{network.ID, addr}, at, appID, processType)
		if app, ok := apps[m.AppID]; ok {
			m.App = app.Name
		}
		if m.App == "" { // an app that is gone, and nobody remembers its name
			return platform.Member{Addr: m.Addr}
		}
		return m
	}
}
