package policy

import (
	"cmp"
	"slices"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/store"
)

// compile turns the table into what the switch holds. Open networks are left
// out: that is how the switch knows them. pairs is how many pairs of process
// types the rules of a project stand for, by its id, where that is more than
// platform.MaxPairs, because apps came after the rules.
func compile(t store.PolicyTable) (policies []privnet.Policy, pairs map[string]int) {
	pairs = map[string]int{}
	for _, project := range t.Projects {
		p := t.Policies[project.ID]
		mode, ok := modes[p.Mode]
		if !ok {
			continue
		}
		groups := groupsOf(t, project.ID)
		rules, cut := entries(p.Rules, groups)
		if cut {
			pairs[project.ID] = pairsOf(p.Rules, groups)
		}
		policies = append(policies, privnet.Policy{Network: project.Network.Key, Mode: mode, Rules: rules})
	}
	return policies, pairs
}

// Private

var modes = map[platform.PolicyMode]privnet.Mode{platform.PolicyDryRun: privnet.ModeDryRun, platform.PolicyDeny: privnet.ModeEnforce}

func groupsOf(t store.PolicyTable, projectID string) (groups []store.Group) {
	for _, g := range t.Groups {
		if g.ProjectID == projectID {
			groups = append(groups, g)
		}
	}
	return groups
}

// pairsOf counts what rules stand for. What two of them say counts twice.
func pairsOf(rules []platform.Rule, groups []store.Group) (pairs int) {
	for _, r := range rules {
		pairs += len(keys(r.From, groups)) * len(keys(r.To, groups))
	}
	return pairs
}

// entries turns rules into entries of the switch, one for each pair of groups.
// An end that is every type of every app is one "any". There are no more than
// platform.MaxPairs: what is cut is what concerns the groups that came last, so
// that less passes, not more, and a new app takes nothing from those before it.
func entries(rules []platform.Rule, groups []store.Group) (entries []privnet.Rule, cut bool) {
	spreads := make([]*spread, len(rules))
	for i, r := range rules {
		spreads[i] = &spread{service: r.Service, from: keys(r.From, groups), to: keys(r.To, groups)}
	}
	have := map[privnet.Rule]bool{}
	add := func(r privnet.Rule) bool {
		if !have[r] && len(have) == platform.MaxPairs {
			return false
		}
		have[r] = true
		return true
	}
	for i := -1; i < len(groups) && !cut; i++ {
		key := uint32(0) // "any" comes before all groups
		if i >= 0 {
			key = groups[i].Key
		}
		for _, s := range spreads {
			if !s.reach(key, add) {
				cut = true
				break
			}
		}
	}
	for r := range have {
		entries = append(entries, r)
	}
	slices.SortFunc(entries, order)
	return entries, cut
}

// spread is a rule on its way from the oldest group to the newest.
type spread struct {
	service platform.Service
	// from and to are the keys of both ends, rising; the first fromDone and
	// toDone were reached.
	from, to         []uint32
	fromDone, toDone int
}

// reach adds the pairs of a group with itself and those before it, until add
// refuses one. Groups come in the order of their keys.
func (s *spread) reach(key uint32, add func(privnet.Rule) bool) bool {
	entry := func(from, to uint32) bool {
		return add(privnet.Rule{From: from, To: to, Protocol: uint8(s.service.Protocol), Port: s.service.Port})
	}
	if s.fromDone < len(s.from) && s.from[s.fromDone] == key {
		s.fromDone++
		for _, to := range s.to[:s.toDone] {
			if !entry(key, to) {
				return false
			}
		}
	}
	if s.toDone < len(s.to) && s.to[s.toDone] == key {
		s.toDone++
		for _, from := range s.from[:s.fromDone] {
			if !entry(from, key) {
				return false
			}
		}
	}
	return true
}

// keys returns the keys of an end's groups, rising as the groups do.
func keys(p platform.Party, groups []store.Group) (keys []uint32) {
	if p.AppID == "" && p.Type == "" {
		return []uint32{0}
	}
	for _, g := range groups {
		if (p.AppID == "" || p.AppID == g.AppID) && (p.Type == "" || p.Type == g.Type) {
			keys = append(keys, g.Key)
		}
	}
	return keys
}

func order(a, b privnet.Rule) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}
