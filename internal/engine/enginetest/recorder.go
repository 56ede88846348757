package enginetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// Recorder is a roster that remembers what was reported to it.
type Recorder struct {
	*roster.Roster

	mu     sync.Mutex
	events []Event
}

// Event is one report. Deleted events have nothing but the ID of Instance.
type Event struct {
	At       time.Time
	Deleted  bool
	Instance platform.Instance
}

// NewRecorder returns an empty one.
func NewRecorder() *Recorder { return &Recorder{Roster: roster.New()} }

// Put implements engine.Sink.
func (r *Recorder) Put(i platform.Instance) {
	r.mu.Lock()
	r.events = append(r.events, Event{At: time.Now(), Instance: i})
	r.mu.Unlock()
	r.Roster.Put(i)
}

// Delete implements engine.Sink.
func (r *Recorder) Delete(id string) {
	r.mu.Lock()
	r.events = append(r.events, Event{At: time.Now(), Deleted: true, Instance: platform.Instance{ID: id}})
	r.mu.Unlock()
	r.Roster.Delete(id)
}

// Of returns what was reported about an instance.
func (r *Recorder) Of(id string) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Event
	for _, e := range r.events {
		if e.Instance.ID == id {
			out = append(out, e)
		}
	}
	return out
}

// States returns the states that an instance went through, without
// repetitions; "deleted" is the last one.
func (r *Recorder) States(id string) []string {
	var out []string
	for _, e := range r.Of(id) {
		s := string(e.Instance.State)
		if e.Deleted {
			s = "deleted"
		}
		out = append(out, s)
	}
	return slices.Compact(out)
}

// Rows returns the instances of a workload, by number.
func (r *Recorder) Rows(workloadID string) []platform.Instance {
	rows, _ := r.Snapshot()
	var out []platform.Instance
	for _, i := range rows {
		if i.WorkloadID == workloadID {
			out = append(out, i)
		}
	}
	return out
}

// patience bounds every wait for something that must happen; it is generous
// because it only matters when a test fails.
const patience = 60 * time.Second

// Await waits until the rows of a workload satisfy a condition, and returns
// them.
func (r *Recorder) Await(t testing.TB, workloadID, what string, cond func([]platform.Instance) bool) []platform.Instance {
	t.Helper()
	deadline := time.After(patience)
	for {
		_, changed := r.Snapshot()
		rows := r.Rows(workloadID)
		if cond(rows) {
			return rows
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s did not happen within %v; the rows are %+v", what, patience, rows)
		}
	}
}

// AwaitNumbers waits until exactly these containers run.
func (r *Recorder) AwaitNumbers(t testing.TB, workloadID string, numbers ...int) []platform.Instance {
	t.Helper()
	return r.Await(t, workloadID, "running", func(rows []platform.Instance) bool {
		var have []int
		for _, i := range rows {
			if i.State != platform.InstanceRunning {
				return false
			}
			have = append(have, i.Number)
		}
		return slices.Equal(have, numbers)
	})
}

// AwaitGone waits until nothing is left of a workload.
func (r *Recorder) AwaitGone(t testing.TB, workloadID string) {
	t.Helper()
	r.Await(t, workloadID, "the removal", func(rows []platform.Instance) bool { return len(rows) == 0 })
}

// eventually waits for a condition that no roster tells about.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within %v", what, patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
