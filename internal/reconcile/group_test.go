package reconcile

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// applied is an engine that keeps what it is told.
type applied struct{ workloads []platform.Workload }

func (a *applied) Apply(_ context.Context, w platform.Workload) error {
	a.workloads = append(a.workloads, w)
	return nil
}
func (*applied) Remove(context.Context, string) error        { return nil }
func (*applied) Workloads(context.Context) ([]string, error) { return nil, nil }

type groups map[string]uint32

func (g groups) Group(_ context.Context, appID, processType string) (uint32, error) {
	return g[appID+" "+processType], nil
}

// Every workload is told with its group, also one of a version before that had
// none: the wish is repeated at each start.
func TestWorkloadsHaveTheGroupOfTheirProcessType(t *testing.T) {
	ctx := t.Context()
	st, err := store.Open(ctx, filepath.Join(t.TempDir(), "atoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.EnsureStack(ctx, store.Stack{Name: "atoll-12", BaseImage: "x", Default: true}); err != nil {
		t.Fatal(err)
	}
	u, err := st.CreateUser(ctx, "ada", "ada@example.test", "", "")
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.CreateApp(ctx, u, "gateway", "", "")
	if err != nil {
		t.Fatal(err)
	}
	row := func(id, kind string) store.Workload {
		return store.Workload{ID: id, Type: kind, Numbers: []int{1}, Active: true, ReleaseID: "r", Command: "run", Size: "M"}
	}
	if err := st.Commit(ctx, a.ID, &store.Change{Release: &platform.Release{ID: "r"}, User: u, Put: []store.Workload{row("w1", "web"), row("w2", "api")}}); err != nil {
		t.Fatal(err)
	}
	e := &applied{}
	r := &Reconciler{Store: st, Engine: e, Groups: groups{a.ID + " web": 3, a.ID + " api": 4}, Log: slog.New(slog.DiscardHandler)}
	if err := r.ApplyAll(ctx); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint32{}
	for _, w := range e.workloads {
		got[w.Type] = w.Group
	}
	if len(e.workloads) != 2 || got["web"] != 3 || got["api"] != 4 {
		t.Errorf("the engine was told %+v", e.workloads)
	}
}
