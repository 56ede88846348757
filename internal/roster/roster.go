package roster

import (
	"cmp"
	"slices"
	"time"

	"github.com/atollhq/atoll/internal/live"
	"github.com/atollhq/atoll/internal/platform"
)

// Roster is the table. It is safe for concurrent use.
type Roster struct {
	rows *live.Value[[]platform.Instance]
}

// New returns an empty roster.
func New() *Roster {
	return &Roster{rows: live.New[[]platform.Instance](nil)}
}

// Snapshot returns all instances, ordered by app, type, number and
// generation, and a channel that is closed at the next change. The slice is
// shared: do not modify it.
func (r *Roster) Snapshot() ([]platform.Instance, <-chan struct{}) {
	return r.rows.Load()
}

// Get finds an instance by id.
func (r *Roster) Get(id string) (platform.Instance, bool) {
	rows, _ := r.rows.Load()
	if i := index(rows, id); i >= 0 {
		return rows[i], true
	}
	return platform.Instance{}, false
}

// Served reports whether a container of a process type has ever listened where
// members of the private network can connect to.
func (r *Roster) Served(appID, processType string) bool {
	rows, _ := r.rows.Load()
	first := platform.Instance{AppID: appID, Type: processType}
	i, _ := slices.BinarySearchFunc(rows, first, order)
	for ; i < len(rows) && rows[i].AppID == appID && rows[i].Type == processType; i++ {
		if rows[i].Observation.Served {
			return true
		}
	}
	return false
}

// Put adds or replaces an instance. Its Observation is kept from the row
// that is there, unless the process is another one than before (StartedAt
// changed): what was seen of the old process says nothing about the new, but
// that the container has Served. Only the engine calls it.
func (r *Roster) Put(inst platform.Instance) {
	r.rows.Update(func(rows []platform.Instance) ([]platform.Instance, bool) {
		out := slices.Clone(rows)
		if i := index(out, inst.ID); i >= 0 {
			if out[i].StartedAt.Equal(inst.StartedAt) {
				inst.Observation = out[i].Observation
			} else {
				inst.Observation.Served = out[i].Observation.Served
			}
			out[i] = inst
		} else {
			out = append(out, inst)
		}
		slices.SortFunc(out, order)
		return out, true
	})
}

// Delete removes an instance; one that is not there is no error. Only the
// engine calls it.
func (r *Roster) Delete(id string) {
	r.rows.Update(func(rows []platform.Instance) ([]platform.Instance, bool) {
		i := index(rows, id)
		if i < 0 {
			return rows, false
		}
		return slices.Delete(slices.Clone(rows), i, i+1), true
	})
}

// Observe records what was seen from outside of the process that started at
// startedAt. A look takes time: what was seen of a process that is gone by
// now, or has been replaced by another in the same container, is ignored.
// Only the node's observer calls it.
func (r *Roster) Observe(id string, startedAt time.Time, o platform.Observation) {
	r.rows.Update(func(rows []platform.Instance) ([]platform.Instance, bool) {
		i := index(rows, id)
		if i < 0 || !rows[i].StartedAt.Equal(startedAt) || equal(rows[i].Observation, o) {
			return rows, false
		}
		out := slices.Clone(rows)
		out[i].Observation = o
		return out, true
	})
}

func equal(a, b platform.Observation) bool {
	return a.Ready == b.Ready && a.ReadyAt.Equal(b.ReadyAt) && slices.Equal(a.Listeners, b.Listeners) &&
		a.Leaving == b.Leaving && a.Served == b.Served
}

func index(rows []platform.Instance, id string) int {
	return slices.IndexFunc(rows, func(i platform.Instance) bool { return i.ID == id })
}

func order(a, b platform.Instance) int {
	return cmp.Or(
		cmp.Compare(a.AppID, b.AppID),
		cmp.Compare(a.Type, b.Type),
		cmp.Compare(a.Number, b.Number),
		cmp.Compare(a.Generation, b.Generation),
		cmp.Compare(a.ID, b.ID),
	)
}
