package flows

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
)

// Ledger keeps refusals on disk; a *store.Store is one.
type Ledger interface {
	Policy(ctx context.Context, projectID string) (platform.Policy, error)
	// RestrictedProjects lists the projects whose policy is not open.
	RestrictedProjects(ctx context.Context) ([]platform.Project, error)
	Refusals(ctx context.Context, projectID string) ([]platform.Refusal, error)
	// KeepRefusals adds or replaces some and forgets others, all or none.
	KeepRefusals(ctx context.Context, changed, forgotten []platform.Refusal) error
}

// RefusalsConfig is what Refusals need.
type RefusalsConfig struct {
	Flows  *Service
	Ledger Ledger
	Log    *slog.Logger
	// Every is the time between looks at the switch; 0 means 10 s. A container
	// that makes up ports pushes 256 flows a second into a table of 16384.
	Every time.Duration
}

// Refusals remembers what policies refused, for longer than the switch does.
// It is safe for concurrent use.
type Refusals struct {
	RefusalsConfig

	mu sync.Mutex
	// before is what the last look saw, nil before the first.
	before map[conversation]privnet.Flow
}

// NewRefusals returns Refusals. Run has to run for them to remember.
func NewRefusals(cfg RefusalsConfig) *Refusals {
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Second
	}
	return &Refusals{RefusalsConfig: cfg}
}

// List returns what a project's policy as it is now refuses and was seen, up to
// this moment, the latest first.
func (r *Refusals) List(ctx context.Context, project platform.Project) ([]platform.Refusal, error) {
	policy, err := r.Ledger.Policy(ctx, project.ID)
	if err != nil || policy.Mode == platform.PolicyOpen {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	raw, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	all, _, _, err := r.merged(ctx, project, r.found(raw)[project.Network.Key])
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(one platform.Refusal) bool { return !one.Stands(policy) }), nil
}

// Run looks from time to time and writes down what is new, until ctx ends.
func (r *Refusals) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.Every)
	defer ticker.Stop()
	for {
		if err := r.note(ctx); err != nil && ctx.Err() == nil {
			r.Log.Error("Cannot note what policies refused; trying again", "in", r.Every, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Private

// note writes down what is new, in one transaction. Nothing is asked of the
// switch while every policy is open.
func (r *Refusals) note(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	projects, err := r.Ledger.RestrictedProjects(ctx)
	if err != nil || len(projects) == 0 {
		return err
	}
	raw, err := r.look(ctx)
	if err != nil {
		return err
	}
	found := r.found(raw)
	var changed, forgotten []platform.Refusal
	for _, project := range projects {
		if len(found[project.Network.Key]) == 0 {
			continue
		}
		_, differ, gone, err := r.merged(ctx, project, found[project.Network.Key])
		if err != nil {
			return err
		}
		changed, forgotten = append(changed, differ...), append(forgotten, gone...)
	}
	if len(changed)+len(forgotten) > 0 {
		if err := r.Ledger.KeepRefusals(ctx, changed, forgotten); err != nil {
			return err
		}
	}
	r.before = counted(raw) // not sooner: what could not be written is told again
	return nil
}

// look returns the flows that a policy refused, or would have.
func (r *Refusals) look(ctx context.Context) ([]privnet.Flow, error) {
	flows, err := r.Flows.look(ctx)
	var refused []privnet.Flow
	for _, f := range flows {
		if f.Verdict != privnet.Allowed {
			refused = append(refused, f)
		}
	}
	return refused, err
}

// subject tells refusals of a project apart.
type subject struct {
	pair
	service platform.Service
	verdict platform.Verdict
}

// pair is who was refused at whom.
type pair struct{ fromApp, fromType, toApp, toType string }

func subjectOf(r platform.Refusal) subject {
	return subject{pair{r.From.AppID, r.From.Type, r.To.AppID, r.To.Type}, r.Service, r.Verdict}
}

// found sums up what is new in flows, by network. Groups say whose they are,
// as they do for rules; apps that are gone need no rule.
func (r *Refusals) found(flows []privnet.Flow) map[uint32]map[subject]platform.Refusal {
	found := map[uint32]map[subject]platform.Refusal{}
	for _, f := range since(flows, r.before) {
		one := platform.Refusal{Service: platform.Service{Protocol: platform.Protocol(f.Protocol), Port: f.Port}, Verdict: verdicts[f.Verdict]}
		var fromKnown, toKnown bool
		one.From.AppID, one.From.Type, fromKnown = r.Flows.Groups.Lookup(f.FromGroup)
		one.To.AppID, one.To.Type, toKnown = r.Flows.Groups.Lookup(f.ToGroup)
		if !fromKnown || !toKnown || r.expired(f.LastSeen) {
			continue
		}
		if found[f.Network] == nil {
			found[f.Network] = map[subject]platform.Refusal{}
		}
		key := subjectOf(one)
		sum := found[f.Network][key]
		// Of a conversation that only its server was seen in, the packets went back.
		one.Packets = sum.Packets + f.Packets + f.ReplyPackets
		one.LastSeen = later(sum.LastSeen, f.LastSeen)
		found[f.Network][key] = one
	}
	return found
}

// merged adds what was found to what is kept of a project. It returns all there
// is to be kept, the latest first, and how that differs from what is kept now.
//
// The first look sees whatever the switch counted since its own beginning, of
// which a former process has written down a part: there the greater count is
// the better one.
func (r *Refusals) merged(ctx context.Context, project platform.Project, found map[subject]platform.Refusal) (all, changed, forgotten []platform.Refusal, err error) {
	kept, err := r.Ledger.Refusals(ctx, project.ID)
	if err != nil {
		return nil, nil, nil, err
	}
	apps, _ := r.Flows.Directory.Snapshot()
	old := map[subject]platform.Refusal{}
	for _, one := range kept {
		key := subjectOf(one)
		old[key] = one
		if _, again := found[key]; !again && !r.expired(one.LastSeen) {
			all = append(all, one)
		}
	}
	for key, one := range found {
		before := old[key]
		if r.before != nil {
			one.Packets += before.Packets
		}
		one.Packets, one.LastSeen = max(one.Packets, before.Packets), later(one.LastSeen, before.LastSeen)
		one.From.App, one.To.App = apps[one.From.AppID].Name, apps[one.To.AppID].Name
		if one.From.App != "" && one.To.App != "" { // else it has just gone
			all = append(all, one)
		}
	}
	all = fairly(all)
	stay := map[subject]bool{}
	for _, one := range all {
		key := subjectOf(one)
		stay[key] = true
		if before := old[key]; one.Packets != before.Packets || !one.LastSeen.Equal(before.LastSeen) {
			changed = append(changed, one)
		}
	}
	for _, one := range kept {
		if !stay[subjectOf(one)] {
			forgotten = append(forgotten, one)
		}
	}
	return all, changed, forgotten, nil
}

// fairly returns the latest first, and at most MaxRefusals. Of more, those go
// whose pair has the most that are later: a scan of every port must not push
// out the one connection of a nightly task.
func fairly(all []platform.Refusal) []platform.Refusal {
	slices.SortFunc(all, latestFirst)
	if len(all) <= platform.MaxRefusals {
		return all
	}
	later, ofPair := make(map[subject]int, len(all)), map[pair]int{}
	for _, one := range all {
		key := subjectOf(one)
		later[key] = ofPair[key.pair]
		ofPair[key.pair]++
	}
	slices.SortStableFunc(all, func(a, b platform.Refusal) int {
		return cmp.Compare(later[subjectOf(a)], later[subjectOf(b)])
	})
	all = all[:platform.MaxRefusals]
	slices.SortFunc(all, latestFirst)
	return all
}

func latestFirst(a, b platform.Refusal) int {
	return cmp.Or(b.LastSeen.Compare(a.LastSeen), cmp.Compare(a.From.String(), b.From.String()), cmp.Compare(a.To.String(), b.To.String()),
		cmp.Compare(a.Service.Protocol, b.Service.Protocol), cmp.Compare(a.Service.Port, b.Service.Port), cmp.Compare(a.Verdict, b.Verdict))
}

func (r *Refusals) expired(seen time.Time) bool {
	return r.Flows.Now().Sub(seen) > platform.RefusalMemory
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
