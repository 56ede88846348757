package deploy

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/reconcile"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/store"
)

// told is an engine that notes what it is told. At the first word the server
// begins to stop; refuse is what it says to that word.
type told struct {
	engine.Images
	stop   func()
	refuse error
	words  []string
}

func (e *told) Apply(_ context.Context, w platform.Workload) error {
	e.stop()
	if err := e.refuse; err != nil {
		e.refuse = nil
		return err
	}
	e.words = append(e.words, w.Type+" in service")
	return nil
}

func (e *told) Remove(_ context.Context, id string) error {
	e.words = append(e.words, id+" removed")
	return nil
}

func (e *told) Workloads(context.Context) ([]string, error) { return []string{"old"}, nil }

// switching is a deployment that waits for its switch.
func switching(t *testing.T, e *told) *run {
	t.Helper()
	ctx := t.Context()
	s, err := store.Open(ctx, filepath.Join(t.TempDir(), "atoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.EnsureStack(ctx, store.Stack{Name: "atoll-12", BaseImage: "x", Default: true}); err != nil {
		t.Fatal(err)
	}
	u, err := s.CreateUser(ctx, "ada", "ada@example.test", "", "")
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.CreateApp(ctx, u, "shop-app", "", "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.CreateDeployment(ctx, u, a.ID, "", "s")
	if err != nil {
		t.Fatal(err)
	}
	row := func(id, kind string, active bool) store.Workload {
		return store.Workload{ID: id, Type: kind, Numbers: []int{1}, Active: active, ReleaseID: "r", Command: "run", Size: "M"}
	}
	r := &run{user: u, app: a, deployment: d, release: platform.Release{ID: "r"}, fresh: []store.Workload{row("a", "api", false), row("b", "db", false)}}
	if err := s.Commit(ctx, a.ID, &store.Change{Release: &r.release, Put: append(slices.Clone(r.fresh), row("old", "api", true)), User: u}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	streams := &Streams{Dir: t.TempDir()}
	if r.out, err = streams.begin(d); err != nil {
		t.Fatal(err)
	}
	r.Pipeline = &Pipeline{Config: Config{Store: s, Images: e, Streams: streams, Changed: func(string) {}, Log: log,
		Reconciler: &reconcile.Reconciler{Store: s, Engine: e, Roster: roster.New(), Log: log}}}
	return r
}

// Half of a switch is worse than none: the old containers leave, and the new
// ones wait for the next start.
func TestASwitchIsToldWhollyThoughTheServerStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	e := &told{stop: stop}
	if err := switching(t, e).switchOver(ctx); err != nil {
		t.Fatal(err)
	}
	slices.Sort(e.words[:2])
	if want := []string{"api in service", "db in service", "old removed"}; !slices.Equal(e.words, want) {
		t.Errorf("the engine was told %q, want %q", e.words, want)
	}
}

func TestTheOldStayUntilTheEngineKnowsTheNew(t *testing.T) {
	e := &told{stop: func() {}, refuse: errors.New("no")}
	r := switching(t, e)
	if err := r.switchOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(e.words, "old removed") {
		t.Fatalf("the engine was told %q", e.words)
	}
	r.Reconciler.Roster.(*roster.Roster).Put(platform.Instance{ID: "x", WorkloadID: "old", AppID: r.app.ID})
	if _, err := r.Reconciler.RemoveUnwanted(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if last := e.words[len(e.words)-1]; last != "old removed" {
		t.Errorf("later it was told %q", e.words)
	}
}
