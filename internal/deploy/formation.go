package deploy

import (
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// newFormation is the formation after a release: types that appear for the
// first time start at their default amount (PT-9), commands are the new
// ones. Types that the release lacks stay as they are: they are to be scaled
// to 0 by their owner (PT-13).
func newFormation(types []platform.ProcessType, commands map[string]string) []platform.ProcessType {
	out := slices.Clone(types)
	for name, command := range commands {
		i := slices.IndexFunc(out, func(t platform.ProcessType) bool { return t.Name == name })
		if i < 0 {
			out = append(out, platform.ProcessType{Name: name, Amount: platform.DefaultAmount(name), Size: platform.DefaultSize})
			i = len(out) - 1
		}
		out[i].Command = command
	}
	slices.SortFunc(out, func(a, b platform.ProcessType) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// freshWorkloads are the containers of a release under a formation, not in
// service yet.
func freshWorkloads(types []platform.ProcessType, r platform.Release) []store.Workload {
	var out []store.Workload
	for _, t := range types {
		command, ok := r.Commands[t.Name]
		if !ok || t.Amount == 0 {
			continue
		}
		out = append(out, store.Workload{ID: platform.NewID(), Type: t.Name, Numbers: platform.Numbers(t.Amount),
			ReleaseID: r.ID, Command: command, Size: t.Size})
	}
	return out
}
