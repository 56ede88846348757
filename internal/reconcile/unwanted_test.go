package reconcile

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/store"
)

// held is an engine that holds workloads.
type held struct {
	Engine
	ids     []string
	removed []string
}

func (h *held) Workloads(context.Context) ([]string, error) { return h.ids, nil }
func (h *held) Remove(_ context.Context, id string) error {
	h.removed = append(h.removed, id)
	return nil
}

func TestOnlyWhatAnAppGaveUpIsRemoved(t *testing.T) {
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "atoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.EnsureStack(t.Context(), store.Stack{Name: "atoll-12", BaseImage: "x", Default: true}); err != nil {
		t.Fatal(err)
	}
	u, err := s.CreateUser(t.Context(), "ada", "ada@example.test", "Ada", "")
	if err != nil {
		t.Fatal(err)
	}
	app := func(name string) platform.App {
		t.Helper()
		a, err := s.CreateApp(t.Context(), u, name, "", "")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	shop, gone := app("my-shop"), app("gone-app")
	if err := s.DeleteApp(t.Context(), u, gone.ID); err != nil {
		t.Fatal(err)
	}
	rows := roster.New()
	for workload, appID := range map[string]string{"former": shop.ID, "destroyed": gone.ID, "foreign": platform.NewAppID()} {
		rows.Put(platform.Instance{ID: workload + "-1", WorkloadID: workload, AppID: appID})
	}
	for _, tt := range []struct {
		accept           bool
		refused, removed []string
	}{
		{false, []string{"foreign"}, []string{"former", "destroyed", "empty"}},
		{true, nil, []string{"former", "destroyed", "foreign", "empty"}},
	} {
		engine := &held{ids: []string{"former", "destroyed", "foreign", "empty"}}
		r := &Reconciler{Store: s, Engine: engine, Roster: rows, Log: slog.New(slog.DiscardHandler)}
		refused, err := r.RemoveUnwanted(t.Context(), tt.accept)
		if err != nil || !slices.Equal(refused, tt.refused) || !slices.Equal(engine.removed, tt.removed) {
			t.Errorf("accept %v: refused %v and removed %v (%v), want %v and %v", tt.accept, refused, engine.removed, err, tt.refused, tt.removed)
		}
	}
}
