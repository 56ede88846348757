package reconcile

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/store"
)

// deployedApp is an app in a database of its own, with these rows.
func deployedApp(t *testing.T, rows ...store.Workload) (*store.Store, platform.App) {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "atoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.EnsureStack(t.Context(), store.Stack{Name: "atoll-12", BaseImage: "x", Default: true}); err != nil {
		t.Fatal(err)
	}
	u, err := s.CreateUser(t.Context(), "ada", "ada@example.test", "", "")
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.CreateApp(t.Context(), u, "shop-app", "", "")
	if err != nil {
		t.Fatal(err)
	}
	ch := &store.Change{Release: &platform.Release{ID: "r"}, Current: true, User: u}
	for _, w := range rows {
		w.Numbers, w.ReleaseID, w.Command, w.Size = []int{1}, "r", "run", "M"
		ch.Put = append(ch.Put, w)
	}
	if err := s.Commit(t.Context(), a.ID, ch); err != nil {
		t.Fatal(err)
	}
	return s, a
}

// told is an engine that notes in which order it is told what.
type told struct {
	held []string

	mu    sync.Mutex
	words []string
	// meanwhile is done, once, while the engine is told a workload.
	meanwhile func()
}

func (e *told) say(word string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.words = append(e.words, word)
}

func (e *told) Apply(_ context.Context, w platform.Workload) error {
	if do := e.meanwhile; do != nil {
		e.meanwhile = nil
		do()
	}
	if w.Active {
		e.say(w.ID + " in service")
	} else {
		e.say(w.ID + " waits")
	}
	return nil
}

func (e *told) Remove(_ context.Context, id string) error {
	e.say(id + " removed")
	return nil
}

func (e *told) Workloads(context.Context) ([]string, error) { return e.held, nil }

func TestTheEngineIsToldTheNewestRowsLast(t *testing.T) {
	s, app := deployedApp(t, store.Workload{ID: "w", Type: "api"})
	e := &told{}
	r := &Reconciler{Store: s, Engine: e, Roster: roster.New(), Log: slog.New(slog.DiscardHandler)}
	var wg sync.WaitGroup
	e.meanwhile = func() { // an earlier Apply has read the rows and is about to tell them
		rows, err := s.Workloads(t.Context(), app.ID)
		if err != nil {
			t.Error(err)
		}
		rows[0].Active = true
		if err := s.Commit(t.Context(), app.ID, &store.Change{Put: rows}); err != nil {
			t.Error(err)
		}
		done := make(chan struct{})
		wg.Go(func() {
			defer close(done)
			if err := r.Apply(t.Context(), app.ID); err != nil {
				t.Error(err)
			}
		})
		select {
		case <-done:
		case <-time.After(200 * time.Millisecond): // it waits, as it has to
		}
	}
	if err := r.Apply(t.Context(), app.ID); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if last := e.words[len(e.words)-1]; last != "w in service" {
		t.Errorf("the engine was told %q", e.words)
	}
}

func TestWhatTakesOverIsInServiceFirst(t *testing.T) {
	s, app := deployedApp(t, store.Workload{ID: "old", Type: "api", Generation: 1, Active: true}, store.Workload{ID: "fresh", Type: "api", Generation: 2, Active: true})
	rows := roster.New()
	for _, id := range []string{"former", "old", "fresh"} {
		rows.Put(platform.Instance{ID: id + "-1", WorkloadID: id, AppID: app.ID})
	}
	e := &told{held: []string{"former", "fresh", "old"}}
	r := &Reconciler{Store: s, Engine: e, Roster: rows, Log: slog.New(slog.DiscardHandler)}
	if err := r.Apply(t.Context(), app.ID); err != nil {
		t.Fatal(err)
	}
	if want := []string{"fresh in service", "old in service"}; !slices.Equal(e.words, want) {
		t.Errorf("after a switch the engine was told %q, want %q", e.words, want)
	}
	// The former row is gone by a switch that has been committed, but not told.
	e.words = nil
	if _, err := r.RemoveUnwanted(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if want := []string{"fresh in service", "old in service", "former removed"}; !slices.Equal(e.words, want) {
		t.Errorf("by an upkeep amid a switch the engine was told %q, want %q", e.words, want)
	}
}
