package control

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/deploy"
	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/policy"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/reconcile"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/store"
)

// instant is an engine whose containers are ready at once, and gone at once.
type instant struct {
	roster *roster.Roster

	mu   sync.Mutex
	held map[string]platform.Workload
}

func (e *instant) Apply(_ context.Context, w platform.Workload) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.held[w.ID].Numbers {
		if !w.Has(n) {
			e.roster.Delete(platform.ContainerLabel(w.ID, n))
		}
	}
	for _, n := range w.Numbers {
		i, known := e.roster.Get(platform.ContainerLabel(w.ID, n))
		if !known {
			i = platform.Instance{ID: platform.ContainerLabel(w.ID, n), WorkloadID: w.ID, AppID: w.AppID, Type: w.Type, Kind: platform.KindApp,
				Number: n, State: platform.InstanceRunning, StartedAt: time.Unix(1000, 0), Observation: platform.Observation{Ready: true}}
		}
		i.Active = w.Active
		e.roster.Put(i)
	}
	e.held[w.ID] = w
	return nil
}

func (e *instant) Remove(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.held[id].Numbers {
		e.roster.Delete(platform.ContainerLabel(id, n))
	}
	delete(e.held, id)
	return nil
}

func (e *instant) Workloads(context.Context) ([]string, error) { return nil, nil }

type noSwitch struct{}

func (noSwitch) SetPolicies(context.Context, []privnet.Policy) error { return nil }

// fixture is a Control with a deployed app, api:3.
type fixture struct {
	*Control
	t      *testing.T
	roster *roster.Roster
	user   platform.User
	app    platform.App
}

func newFixture(t *testing.T) *fixture {
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
	u, err := s.CreateUser(ctx, "ada", "ada@example.test", "Ada", "")
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.CreateApp(ctx, u, "shop-app", "", "")
	if err != nil {
		t.Fatal(err)
	}
	log, rows := slog.New(slog.DiscardHandler), roster.New()
	f := &fixture{t: t, roster: rows, user: u, app: a}
	f.Control = New(Config{Store: s, Directory: directory.New(), Roster: rows, Log: log,
		Pipeline:   &deploy.Pipeline{Config: deploy.Config{Streams: &deploy.Streams{}}},
		Policies:   policy.New(policy.Config{Store: s, Switch: noSwitch{}, Log: log}),
		EndOneOffs: func(context.Context, string) error { return nil },
		Forget:     func(string) error { return nil },
		Reconciler: &reconcile.Reconciler{Store: s, Engine: &instant{roster: rows, held: map[string]platform.Workload{}}, Roster: rows, Log: log}})
	t.Cleanup(f.Close)
	rel := f.release()
	w := store.Workload{ID: platform.NewID(), Type: "api", Numbers: []int{1, 2, 3}, Active: true, ReleaseID: rel.ID, Command: "serve", Size: "M"}
	f.commit(&store.Change{Types: []platform.ProcessType{{Name: "api", Amount: 3, Size: "M", Command: "serve"}},
		Release: &rel, Current: true, Put: []store.Workload{w}, Status: platform.AppRunning, User: u})
	if err := f.Reconciler.Apply(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) release() platform.Release {
	return platform.Release{ID: platform.NewID(), AppID: f.app.ID, Image: "i", Commands: map[string]string{"api": "serve"}}
}

func (f *fixture) commit(ch *store.Change) {
	f.t.Helper()
	if err := f.Store.Commit(f.t.Context(), f.app.ID, ch); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) rows() []store.Workload {
	f.t.Helper()
	rows, err := f.Store.Workloads(f.t.Context(), f.app.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	return rows
}

// scale scales api as soon as the app is free.
func (f *fixture) scale(amount int) platform.Operation {
	f.t.Helper()
	for {
		_, op, err := f.Scale(f.t.Context(), f.user, f.app.ID, []platform.ProcessType{{Name: "api", Amount: amount}})
		if err == nil {
			return *op
		}
		if platform.CodeOf(err) != platform.CodeConflict {
			f.t.Fatal(err)
		}
	}
}

// wait returns an operation when it has ended.
func (f *fixture) wait(op platform.Operation) platform.Operation {
	f.t.Helper()
	for op.Status == platform.OperationRunning {
		time.Sleep(time.Millisecond)
		var err error
		if op, err = f.Store.Operation(f.t.Context(), f.app.ID, op.ID); err != nil {
			f.t.Fatal(err)
		}
	}
	return op
}

// wantServing checks that api runs as one row with n containers in service.
func (f *fixture) wantServing(n int) {
	f.t.Helper()
	rows := f.rows()
	instances, _ := f.Roster.Snapshot()
	serving := len(slices.DeleteFunc(slices.Clone(instances), func(i platform.Instance) bool { return !i.InService() }))
	if len(rows) != 1 || !rows[0].Active || len(rows[0].Numbers) != n || serving != n {
		f.t.Fatalf("%d containers are in service, want %d; the rows are %+v", serving, n, rows)
	}
}

// A scale that comes at the very end of a restart used to write the rows that
// it had read before that end: the old ones came back, the new ones went out of
// service.
func TestScaleAtTheEndOfARestart(t *testing.T) {
	f := newFixture(t)
	for i := range 20 {
		op, err := f.Restart(t.Context(), f.user, f.app.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		amount := 3 + 2*(i%2)
		scaled := f.scale(amount)
		for _, op := range []platform.Operation{op, scaled} {
			if op = f.wait(op); op.Status != platform.OperationDone {
				t.Fatalf("%s ended with %s: %s", op.Type, op.Status, op.Error)
			}
		}
		f.wantServing(amount)
	}
}

// A scale is about the containers it adds: that one of the others crashed once
// is none of its business, and that one has just crashed neither.
func TestScaleDoesNotFailByAnOldCrash(t *testing.T) {
	f := newFixture(t)
	instances, _ := f.Roster.Snapshot()
	before, now := instances[0], instances[1]
	before.Restarts, before.LastExit = 1, &platform.Exit{Code: 137}
	now.State, now.StartedAt, now.LastExit = platform.InstanceCrashed, time.Time{}, &platform.Exit{Code: 1}
	for _, i := range []platform.Instance{before, now} {
		f.roster.Put(i)
	}
	for _, amount := range []int{5, 2} {
		if op := f.wait(f.scale(amount)); op.Status != platform.OperationDone {
			t.Errorf("the scale to %d ended with %s: %s", amount, op.Status, op.Error)
		}
	}
}

func TestScaleAtTheEndOfADeployment(t *testing.T) {
	f := newFixture(t)
	for i := range 20 {
		d, err := f.Store.CreateDeployment(t.Context(), f.user, f.app.ID, "", "s")
		if err != nil {
			t.Fatal(err)
		}
		old := f.rows()[0]
		rel := f.release()
		fresh := store.Workload{ID: platform.NewID(), Type: "api", Numbers: old.Numbers, Active: true, ReleaseID: rel.ID, Command: "serve", Size: "M"}
		var wg sync.WaitGroup
		wg.Go(func() {
			d.Status = platform.DeploymentSuccess
			err := f.Store.Commit(t.Context(), f.app.ID, &store.Change{Release: &rel, Current: true, Put: []store.Workload{fresh}, Drop: []string{old.ID}, Deployment: &d, User: f.user})
			if err := errors.Join(err, f.Reconciler.Apply(t.Context(), f.app.ID), f.Reconciler.Remove(t.Context(), old.ID)); err != nil {
				t.Error(err)
			}
		})
		amount := 3 + 2*((i+1)%2)
		op := f.scale(amount)
		wg.Wait()
		f.wait(op)
		f.wantServing(amount)
		if row := f.rows()[0]; row.ReleaseID != rel.ID {
			t.Fatalf("an old release is back: %+v", row)
		}
	}
}
