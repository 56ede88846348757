package upkeep

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/sandbox"
)

// Networks are what is looked after; a *sandbox.Manager is one.
type Networks interface {
	Repair(ctx context.Context, o sandbox.Options) (sandbox.Report, error)
}

// Config is what an Upkeep needs; fields without "optional" must be set.
type Config struct {
	Networks Networks
	// Containers returns every container of the engine, and whether a
	// process of it runs.
	Containers func() map[string]bool
	// Obstacles lists other firewalls that may stop containers.
	Obstacles func(ctx context.Context) ([]outside.Obstacle, error)
	// Workloads removes workloads that no app wants, and returns those that
	// were not because nothing says that an app gave them up. Accept removes
	// these as well.
	Workloads func(ctx context.Context, accept bool) (refused []string, err error)
	// Refused is told of refusals, once for each. Optional.
	Refused func(ctx context.Context, s State) error
	// Accepted is an acceptance that the start used already; it holds for the
	// first look, too.
	Accepted bool
	// Every is the time between two looks; 0 means none after the first. A
	// machine on which a look takes long is looked at less often, see share.
	Every time.Duration
	// RunDir is where acceptances are found and the state is written.
	RunDir string
	Log    *slog.Logger
}

// State is what the last look came to.
type State struct {
	// At is when it ended, Took how long it took.
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took_ns"`
	sandbox.Report
	// Workloads run, but no app of the database ever had them.
	Workloads []string `json:"refused_workloads"`
	// Obstacles are other firewalls that may stop containers.
	Obstacles []outside.Obstacle `json:"obstacles"`
	// Error is why the look is not complete, "" when it is.
	Error string `json:"error"`
	// Repairs and Looks count since the server started.
	Repairs int `json:"repairs"`
	Looks   int `json:"looks"`
	// LastRepair is something of the last look that repaired or removed
	// anything, nil before.
	LastRepair *Repair `json:"last_repair"`
}

// Repair is something that was put right.
type Repair struct {
	At time.Time `json:"at"`
	sandbox.Finding
}

// Healthy reports whether everything is as it should be now.
func (s State) Healthy() bool {
	return s.Error == "" && len(s.Failed)+len(s.Report.Refused)+len(s.Workloads) == 0
}

// Upkeep looks after the networks. It is safe for concurrent use.
type Upkeep struct {
	cfg Config
	// one makes sure that there is one look at a time.
	one sync.Mutex

	mu    sync.Mutex
	state State
}

// New returns an Upkeep that has not looked yet.
func New(cfg Config) *Upkeep { return &Upkeep{cfg: cfg} }

// share bounds what looks cost: one part in so many of the time of one CPU,
// and of the time in which no container can be connected.
const share = 20

// Run looks at once, then at intervals, until ctx ends.
func (u *Upkeep) Run(ctx context.Context) error {
	for {
		took := u.Look(ctx).Took
		var next <-chan time.Time
		if u.cfg.Every > 0 {
			next = time.After(u.pause(took))
		}
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pause is the time from the end of a look that took so long to the next.
func (u *Upkeep) pause(took time.Duration) time.Duration {
	return max(u.cfg.Every, (share-1)*took)
}

// Look looks now and returns what came of it.
func (u *Upkeep) Look(ctx context.Context) State {
	u.one.Lock()
	defer u.one.Unlock()
	before := u.State()
	began := time.Now()
	s, err := u.look(ctx, before)
	if ctx.Err() != nil {
		return before // cut off: it says nothing
	}
	s.At, s.Took, s.Looks = time.Now().UTC(), time.Since(began), before.Looks+1
	done := slices.Concat(s.Repaired, s.Removed)
	s.Repairs, s.LastRepair = before.Repairs+len(done), before.LastRepair
	if len(done) > 0 {
		s.LastRepair = &Repair{s.At, done[0]}
	}
	if err != nil {
		s.Error = err.Error()
	}
	u.tell(ctx, before, s)
	u.mu.Lock()
	u.state = s
	u.mu.Unlock()
	if err := writeState(u.cfg.RunDir, s); err != nil {
		u.cfg.Log.Error("The state of the networks cannot be written", "error", err)
	}
	return s
}

// State returns what the last look came to; the zero State before the first.
func (u *Upkeep) State() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

// Private

func (u *Upkeep) look(ctx context.Context, before State) (s State, err error) {
	accept, err := TakeConsent(u.cfg.RunDir)
	errs := []error{err}
	accept = accept || u.cfg.Accepted && before.Looks == 0
	// Workloads first: an accepted removal of one takes its networks along.
	// The engine's list is long; it is looked at where something is amiss.
	if before.Looks == 0 || accept || len(before.Workloads) > 0 {
		s.Workloads, err = u.cfg.Workloads(ctx, accept)
		errs = append(errs, err)
	}
	s.Report, err = u.cfg.Networks.Repair(ctx, sandbox.Options{Containers: u.cfg.Containers, Accept: accept})
	errs = append(errs, err)
	s.Obstacles, err = u.cfg.Obstacles(ctx)
	return s, errors.Join(append(errs, err)...)
}

// tell logs what changed of what cannot be helped.
func (u *Upkeep) tell(ctx context.Context, before, now State) {
	for _, o := range now.Obstacles {
		if !slices.Contains(before.Obstacles, o) && before.Looks > 0 { // the outside network told of the first ones
			u.cfg.Log.Warn("Another firewall drops what it does not know; "+outside.Advice, "table", o.Table, "chain", o.Chain, "why", o.Why)
		}
	}
	if now.Error != "" && now.Error != before.Error {
		u.cfg.Log.Error("Not everything of the networks could be looked after; the next look tries again", "error", now.Error)
	}
	if before.Error != "" && now.Error == "" {
		u.cfg.Log.Info("The networks can be looked after again")
	}
	newly := slices.ContainsFunc(now.Workloads, func(id string) bool { return !slices.Contains(before.Workloads, id) })
	if newly {
		u.cfg.Log.Error("REFUSED TO STOP CONTAINERS: their apps are not in the database, and never were. Is it another one than before? Put it back and restart the server. If they are to be stopped: atoll server --accept-removal",
			"workloads", now.Workloads)
	}
	other := len(now.Report.Refused) > 0 && !sandbox.SameContainers(before.Report.Refused, now.Report.Refused)
	if (newly || other) && u.cfg.Refused != nil {
		if err := u.cfg.Refused(ctx, now); err != nil {
			u.cfg.Log.Error("Cannot add the event of a refused removal", "error", err)
		}
	}
	if now.Looks == 1 || now.Took > 5*time.Second {
		u.cfg.Log.Info("Looked after the networks", "took", now.Took, "repaired", len(now.Repaired), "removed", len(now.Removed), "failed", len(now.Failed), "refused", len(now.Report.Refused)+len(now.Workloads))
	}
}

// StateFile is the file of a run folder that holds the last State as JSON.
func StateFile(runDir string) string { return filepath.Join(runDir, "networks.json") }
