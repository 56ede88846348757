package policy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/store"
)

// Switch decides about packets; a *privnet.Switch is one.
type Switch interface {
	SetPolicies(ctx context.Context, policies []privnet.Policy) error
}

// Config is what a Service needs.
type Config struct {
	Store  *store.Store
	Switch Switch
	Log    *slog.Logger
	// Retry is the time between attempts to tell the switch what it refused;
	// 0 means 5 s.
	Retry time.Duration
}

// Service changes policies. It is safe for concurrent use.
type Service struct {
	Config

	// mu makes reading the store and telling the switch one step: a switch
	// never gets an older state after a newer one.
	mu sync.Mutex
	// told is the greatest key of the groups that the switch was told of. Keys
	// rise, so it was told of all up to that one.
	told atomic.Uint32
	// groups are all that were ever seen, uint32 to store.Group: their keys
	// are never used again.
	groups sync.Map
	// stale wakes Run when the switch does not have the stored policies.
	stale chan struct{}
}

// New returns a Service. Call Apply at start, before containers are.
func New(cfg Config) *Service {
	if cfg.Retry == 0 {
		cfg.Retry = 5 * time.Second
	}
	return &Service{Config: cfg, stale: make(chan struct{}, 1)}
}

// Policy returns the policy of a project.
func (s *Service) Policy(ctx context.Context, projectID string) (platform.Policy, error) {
	return s.Store.Policy(ctx, projectID)
}

// SetMode changes the mode of a user's project. New packets obey when it
// returns, also those of connections that are open.
func (s *Service) SetMode(ctx context.Context, user platform.User, projectID string, mode platform.PolicyMode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Store.SetPolicyMode(ctx, user, projectID, mode); err != nil {
		return err
	}
	return s.apply(ctx)
}

// AddRule adds a rule to the policy of a user's project.
func (s *Service) AddRule(ctx context.Context, user platform.User, projectID string, r platform.Rule) (platform.Rule, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkSize(ctx, user, projectID, r); err != nil {
		return r, err
	}
	r, err := s.Store.AddRule(ctx, user, projectID, r)
	if err != nil {
		return r, err
	}
	return r, s.apply(ctx)
}

// RemoveRule removes a rule from the policy of a user's project.
func (s *Service) RemoveRule(ctx context.Context, user platform.User, projectID, ruleID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Store.DeleteRule(ctx, user, projectID, ruleID); err != nil {
		return err
	}
	return s.apply(ctx)
}

// Apply tells the switch all policies as the store has them: at start, and
// when an app or project is gone.
func (s *Service) Apply(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apply(ctx)
}

// Group returns the key of the group of a process type. The switch knows what
// the rules say of it before Group returns, whoever asked first; should the
// switch refuse, that is logged and tried again, and a policy that denies
// goes on without it: less passes than should, never more.
func (s *Service) Group(ctx context.Context, appID, processType string) (uint32, error) {
	key, err := s.Store.EnsureGroup(ctx, appID, processType)
	if err != nil {
		return 0, fmt.Errorf("cannot find the group of process type %s: %w", processType, err)
	}
	if key <= s.told.Load() {
		return key, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key <= s.told.Load() { // by another who asked
		return key, nil
	}
	if err := s.apply(ctx); err != nil {
		s.Log.Error("A new process type is not known to the policies yet", "app", appID, "type", processType, "error", err)
	}
	return key, nil
}

// Lookup returns whose process type a group is. It also knows the groups of
// apps that were destroyed since the start.
func (s *Service) Lookup(group uint32) (appID, processType string, ok bool) {
	found, ok := s.groups.Load(group)
	if !ok {
		return "", "", false
	}
	g := found.(store.Group)
	return g.AppID, g.Type, true
}

// Run tells the switch again what it refused, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stale:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.Retry):
		}
		if err := s.Apply(ctx); err == nil {
			s.Log.Info("The switch has the policies again")
		}
	}
}

// Private

// apply needs s.mu. It goes on when whoever asked has gone: what is stored
// must not wait for the next change.
func (s *Service) apply(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	table, err := s.Store.PolicyTable(ctx)
	if err == nil {
		for _, g := range table.Groups {
			s.groups.Store(g.Key, g)
		}
		policies, pairs := compile(table)
		s.tell(ctx, table, pairs)
		err = s.Switch.SetPolicies(ctx, policies)
	}
	if err == nil {
		for _, g := range table.Groups {
			s.told.Store(max(s.told.Load(), g.Key))
		}
		return nil
	}
	select {
	case s.stale <- struct{}{}:
	default: // Run is about to look anyway
	}
	s.Log.Error("Cannot tell the switch the policies; trying again", "in", s.Retry, "error", err)
	return platform.Unavailable("the policy is saved, but the network does not obey it yet: %v; it is tried again every %s, the server's log says how it goes", err, s.Retry)
}

// tell notes which policies do not fit, where that is news. It is told to
// users by their policy and by an event; should that fail, the next change
// tries again.
func (s *Service) tell(ctx context.Context, table store.PolicyTable, pairs map[string]int) {
	for _, project := range table.Projects {
		now := pairs[project.ID]
		if now == table.Policies[project.ID].Pairs {
			continue
		}
		if err := s.Store.NotePolicyPairs(ctx, project.ID, now); err != nil {
			s.Log.Error("Cannot note how large a policy is", "project", project.ID, "error", err)
		}
		if now > 0 {
			s.Log.Warn("A policy is larger than the switch takes", "project", project.ID, "pairs", now, "limit", platform.MaxPairs)
		}
	}
}

// checkSize refuses a rule that would make the policy too large for the
// switch.
func (s *Service) checkSize(ctx context.Context, user platform.User, projectID string, r platform.Rule) error {
	table, err := s.Store.PolicyTable(ctx)
	if err != nil {
		return err
	}
	r, err = s.Store.ResolveRule(ctx, user, projectID, r)
	if err != nil {
		return err
	}
	total := pairsOf(append(table.Policies[projectID].Rules, r), groupsOf(table, projectID))
	if total > platform.MaxPairs {
		return platform.Conflict("with this rule the policy would stand for %d pairs of process types, and %d is the limit: %s", total, platform.MaxPairs, platform.PairsAdvice)
	}
	return nil
}
