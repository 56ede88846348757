package control

import (
	"context"
	"slices"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// Restart replaces containers by new ones with the present variables. scope
// holds process types ("web") and containers ("web-1"); empty means all.
func (c *Control) Restart(ctx context.Context, user platform.User, appID string, scope []string) (platform.Operation, error) {
	var s step
	ch := &store.Change{RequireIdle: true, Status: platform.AppRestarting, Operation: newOperation(appID, "restart"), User: user,
		Event: "restart", EventData: map[string]any{"scope": scope, "reason": "asked by " + user.Username}}
	ch.Plan = func(now store.Desired, ch *store.Change) (err error) {
		if now.Release == nil {
			return platform.Conflict("the app was never deployed, so there is nothing to restart; deploy it first")
		}
		s, err = planRestart(now.Workloads, now.Types, scope)
		ch.Put = s.fresh
		return err
	}
	if err := c.Store.Commit(ctx, appID, ch); err != nil {
		return platform.Operation{}, err
	}
	s.fresh = ch.Put
	op := *ch.Operation
	c.run(user, appID, op, s)
	return op, nil
}

// Private

// planRestart plans the replacement of the containers in scope.
func planRestart(rows []store.Workload, types []platform.ProcessType, scope []string) (step, error) {
	var s step
	used := map[string]bool{}
	in := func(row store.Workload, n int) bool {
		found := len(scope) == 0
		for _, item := range scope {
			if item == row.Type || item == platform.ContainerLabel(row.Type, n) {
				used[item], found = true, true
			}
		}
		return found
	}
	fresh := map[string]*store.Workload{}
	for _, row := range rows {
		var remaining, replaced []int
		for _, n := range row.Numbers {
			if in(row, n) {
				replaced = append(replaced, n)
			} else {
				remaining = append(remaining, n)
			}
		}
		if len(replaced) == 0 {
			continue
		}
		w := fresh[row.Type]
		if w == nil {
			w = &store.Workload{ID: platform.NewID(), Type: row.Type, ReleaseID: row.ReleaseID, Command: row.Command, Size: row.Size}
			fresh[row.Type] = w
		}
		w.Numbers = append(w.Numbers, replaced...)
		slices.Sort(w.Numbers)
		s.retired = append(s.retired, retirement{row: row, keep: remaining})
	}
	for _, item := range scope {
		known := slices.ContainsFunc(types, func(t platform.ProcessType) bool { return t.Name == item })
		if !used[item] && !known {
			return s, platform.Invalid("scope", "%q is neither a process type nor a running container of this app; it has: %s", item, typeNames(types))
		}
	}
	for _, t := range types {
		if w := fresh[t.Name]; w != nil {
			s.fresh = append(s.fresh, *w)
		}
	}
	return s, nil
}
