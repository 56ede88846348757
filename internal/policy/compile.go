package policy

import (
	"cmp"
	"slices"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/store"
)

// maxEntries is how many entries the rules of one project may take in the
// switch, which has room for 65536 in all: nobody's policy may take the room of
// the others.
const maxEntries = 1024

// compile turns the table into what the switch holds. Open networks are left
// out: that is how the switch knows them. cut are the projects whose rules
// stand for more than maxEntries, because apps came after the rules; their
// last entries are left out, so that less passes, not more.
func compile(t store.PolicyTable) (policies []privnet.Policy, cut []string) {
	for _, project := range t.Projects {
		p := t.Policies[project.ID]
		mode, ok := modes[p.Mode]
		if !ok {
			continue
		}
		groups := groupsOf(t, project.ID)
		var rules []privnet.Rule
		for _, r := range p.Rules {
			rules = append(rules, expand(r, groups)...)
		}
		slices.SortFunc(rules, order)
		rules = slices.Compact(rules)
		if len(rules) > maxEntries {
			rules, cut = rules[:maxEntries], append(cut, project.ID)
		}
		policies = append(policies, privnet.Policy{Network: project.Network.Key, Mode: mode, Rules: rules})
	}
	return policies, cut
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

// expand turns a rule into entries of the switch, one for each pair of
// groups. An end that is every type of every app is one "any".
func expand(r platform.Rule, groups []store.Group) (rules []privnet.Rule) {
	for _, from := range keys(r.From, groups) {
		for _, to := range keys(r.To, groups) {
			rules = append(rules, privnet.Rule{From: from, To: to, Protocol: uint8(r.Service.Protocol), Port: r.Service.Port})
		}
	}
	return rules
}

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
