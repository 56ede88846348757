package control

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// Scale changes Amount and Size of the process types named in changes; a
// Size of "" keeps the present one. It returns the whole formation, and the
// operation that carries it out, nil when there is nothing to carry out
// because the app was never deployed.
func (c *Control) Scale(ctx context.Context, user platform.User, appID string, changes []platform.ProcessType) ([]platform.ProcessType, *platform.Operation, error) {
	var s step
	ch := &store.Change{RequireIdle: true, User: user, Event: "scale"}
	ch.Plan = func(now store.Desired, ch *store.Change) (err error) {
		if ch.Types, err = scaled(now.Types, changes, c.MaxContainers); err != nil {
			return err
		}
		ch.EventData = map[string]any{"previous_containers": formationData(now.Types), "containers": formationData(ch.Types)}
		if now.Release == nil {
			return nil
		}
		s = planScale(now.Workloads, ch.Types, *now.Release)
		ch.Put, ch.Drop, ch.Status = append(slices.Clone(s.adjusted), s.fresh...), s.dropped, platform.AppScaling
		ch.Operation = newOperation(appID, "scale")
		return nil
	}
	if err := c.Store.Commit(ctx, appID, ch); err != nil || ch.Operation == nil {
		return ch.Types, nil, err
	}
	// Commit numbered the generations in ch.Put; adjusted comes first there.
	s.adjusted, s.fresh = ch.Put[:len(s.adjusted)], ch.Put[len(s.adjusted):]
	op := *ch.Operation
	c.run(user, appID, op, s)
	return ch.Types, &op, nil
}

// Private

// scaled applies changes to a formation, or says what is wrong with them. No
// type gets more than limit containers.
func scaled(before, changes []platform.ProcessType, limit int) ([]platform.ProcessType, error) {
	if len(changes) == 0 {
		return nil, platform.Invalid("containers", "must name at least one process type, such as web:2")
	}
	after := slices.Clone(before)
	for _, ch := range changes {
		i := slices.IndexFunc(after, func(t platform.ProcessType) bool { return t.Name == ch.Name })
		if i < 0 {
			return nil, platform.Invalid("containers", "the app has no process type %q; it has: %s (new types appear with a deployment)", ch.Name, typeNames(before))
		}
		if ch.Amount < 0 || ch.Amount > limit {
			return nil, platform.Invalid("amount", "%s: must be 0 to %d (got %d)", ch.Name, limit, ch.Amount)
		}
		if ch.Size != "" {
			if _, err := platform.SizeByName(ch.Size); err != nil {
				return nil, err
			}
			after[i].Size = ch.Size
		}
		after[i].Amount = ch.Amount
	}
	return after, nil
}

func typeNames(types []platform.ProcessType) string {
	names := make([]string, 0, len(types))
	for _, t := range types {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}

func formationData(types []platform.ProcessType) map[string]string {
	out := map[string]string{}
	for _, t := range types {
		out[t.Name] = fmt.Sprintf("%d:%s", t.Amount, t.Size)
	}
	return out
}

// planScale compares the containers there are with a formation.
func planScale(rows []store.Workload, types []platform.ProcessType, release platform.Release) step {
	var s step
	for _, t := range types {
		command, known := release.Commands[t.Name]
		var own []store.Workload
		for _, row := range rows {
			if row.Type == t.Name {
				own = append(own, row)
			}
		}
		amount := t.Amount
		if !known {
			amount = 0
		}
		blank := store.Workload{ID: platform.NewID(), Type: t.Name, ReleaseID: release.ID, Command: command, Size: t.Size}
		s.planType(own, platform.Numbers(amount), blank)
	}
	return s
}

// planType plans one process type: own are its rows, oldest first, wanted
// its numbers, blank what a new row looks like.
func (s *step) planType(own []store.Workload, wanted []int, blank store.Workload) {
	resized := slices.ContainsFunc(own, func(row store.Workload) bool { return row.Size != blank.Size })
	if resized && len(wanted) > 0 {
		blank.Numbers = wanted
		s.fresh = append(s.fresh, blank)
		for _, row := range own {
			s.retired = append(s.retired, retirement{row: row})
		}
		return
	}
	missing := slices.Clone(wanted)
	for i, row := range own {
		kept := intersection(row.Numbers, wanted)
		missing = difference(missing, kept)
		if i == len(own)-1 {
			// The newest row takes the new numbers, unless another row has them.
			kept = append(kept, missing...)
			sort.Ints(kept)
			missing = nil
		}
		if len(kept) == 0 {
			s.dropped = append(s.dropped, row.ID)
		} else if !slices.Equal(kept, row.Numbers) {
			s.adjust(row, kept)
		}
	}
	if len(missing) > 0 {
		blank.Active = true
		s.adjust(blank, missing)
	}
}

// adjust plans other numbers for a row.
func (s *step) adjust(row store.Workload, numbers []int) {
	added := difference(numbers, row.Numbers)
	row.Numbers = numbers
	s.adjusted = append(s.adjusted, row)
	if len(added) > 0 {
		row.Numbers = added
		s.added = append(s.added, row)
	}
}

func intersection(a, b []int) []int {
	var out []int
	for _, n := range a {
		if slices.Contains(b, n) {
			out = append(out, n)
		}
	}
	return out
}

func difference(a, b []int) []int {
	var out []int
	for _, n := range a {
		if !slices.Contains(b, n) {
			out = append(out, n)
		}
	}
	return out
}
