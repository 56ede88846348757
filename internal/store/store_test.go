package store

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/atollhq/atoll/internal/platform"
)

func newStore(t *testing.T) (*Store, platform.User) {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "atoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.EnsureStack(t.Context(), Stack{Name: "atoll-12", BaseImage: "x", Default: true}); err != nil {
		t.Fatal(err)
	}
	u, err := s.CreateUser(t.Context(), "ada", "ada@example.test", "Ada", "")
	if err != nil {
		t.Fatal(err)
	}
	return s, u
}

func wantCode(t *testing.T, err error, code platform.Code) {
	t.Helper()
	if platform.CodeOf(err) != code {
		t.Fatalf("error is %v, want one with code %s", err, code)
	}
}

func TestUserGetsADefaultProjectWithANetworkOfItsOwn(t *testing.T) {
	s, u := newStore(t)
	first, err := s.DefaultProject(t.Context(), u.ID)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.CreateProject(t.Context(), u, "staging", true)
	if err != nil {
		t.Fatal(err)
	}
	if first.Network.Key == 0 || first.Network.Key == second.Network.Key || first.Network.ID == second.Network.ID {
		t.Fatalf("networks %+v and %+v must differ", first.Network, second.Network)
	}
	if p, _ := s.DefaultProject(t.Context(), u.ID); p.ID != second.ID {
		t.Fatalf("default project is %s, want the new one", p.Name)
	}
	wantCode(t, s.DeleteProject(t.Context(), u, second.ID), platform.CodeConflict)
	if err := s.DeleteProject(t.Context(), u, first.ID); err != nil {
		t.Fatal(err)
	}
	third, err := s.CreateProject(t.Context(), u, "third", false)
	if err != nil {
		t.Fatal(err)
	}
	if third.Network.Key <= second.Network.Key {
		t.Fatalf("network key %d was used before", third.Network.Key)
	}
}

func TestTokenIsFoundByItsSecretOnly(t *testing.T) {
	s, u := newStore(t)
	_, secret, err := s.CreateToken(t.Context(), u.ID, "laptop")
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) != len("tk-us-")+48 {
		t.Fatalf("token %q has the wrong length", secret)
	}
	if got, err := s.UserByToken(t.Context(), secret); err != nil || got.ID != u.ID {
		t.Fatalf("user %v, %v", got, err)
	}
	_, err = s.UserByToken(t.Context(), secret+"x")
	wantCode(t, err, platform.CodeUnauthorized)
}

func TestAppsAreCheckedAndNamesAreUnique(t *testing.T) {
	s, u := newStore(t)
	a, err := s.CreateApp(t.Context(), u, "gateway", "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gateway", "short", "Upper-case", "double--hyphen", "-leading", ""} {
		_, err := s.CreateApp(t.Context(), u, name, "", "")
		wantCode(t, err, platform.CodeInvalid)
	}
	_, err = s.CreateApp(t.Context(), u, "elsewhere", "prj-nobody", "")
	wantCode(t, err, platform.CodeNotFound)
	types, err := s.Formation(t.Context(), a.ID)
	if err != nil || len(types) != 1 || types[0].Name != "web" || types[0].Amount != 1 || types[0].Size != "M" {
		t.Fatalf("first formation is %+v, %v; want web:1:M", types, err)
	}
	other, err := s.CreateUser(t.Context(), "eve", "eve@example.test", "", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.App(t.Context(), other.ID, a.Name)
	wantCode(t, err, platform.CodeNotFound)
}

func TestOneDeploymentAtATime(t *testing.T) {
	s, u := newStore(t)
	a, _ := s.CreateApp(t.Context(), u, "gateway", "", "")
	d, err := s.CreateDeployment(t.Context(), u, a.ID, "v1", "src")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.CreateDeployment(t.Context(), u, a.ID, "v2", "src")
	wantCode(t, err, platform.CodeConflict)
	d.Status = platform.DeploymentBuildError
	if err := s.Commit(t.Context(), a.ID, &Change{Deployment: &d, Event: "deployment", User: u}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateDeployment(t.Context(), u, a.ID, "v2", "src"); err != nil {
		t.Fatal(err)
	}
}

func TestAChangeIsAllOrNothing(t *testing.T) {
	s, u := newStore(t)
	a, _ := s.CreateApp(t.Context(), u, "gateway", "", "")
	before, n, err := s.AppEvents(t.Context(), a.ID, Page{1, 10})
	if err != nil {
		t.Fatal(err)
	}
	// The workload names a release that does not exist, so the process type
	// before it and the event after it must not be there either.
	err = s.Commit(t.Context(), a.ID, &Change{
		Types: []platform.ProcessType{{Name: "worker", Amount: 3, Size: "S"}},
		Put:   []Workload{{ID: "w1", Type: "worker", Numbers: []int{1}, ReleaseID: "none"}},
		Event: "scale", User: u,
	})
	if err == nil {
		t.Fatal("a workload of an unknown release was accepted")
	}
	if types, _ := s.Formation(t.Context(), a.ID); len(types) != 1 {
		t.Fatalf("half of a failed change is there: %+v", types)
	}
	if _, m, _ := s.AppEvents(t.Context(), a.ID, Page{1, 10}); m != n {
		t.Fatalf("%d events after a failed change, %d before (%v)", m, n, before)
	}
}

func TestGenerationsGrowAndAreSharedWithinAChange(t *testing.T) {
	s, u := newStore(t)
	a, _ := s.CreateApp(t.Context(), u, "gateway", "", "")
	rel := &platform.Release{ID: "r1", Commands: map[string]string{"web": "run"}}
	c := &Change{Release: rel, Current: true, User: u, Put: []Workload{
		{ID: "w1", Type: "web", Numbers: []int{1, 2}, ReleaseID: "r1"}, {ID: "w2", Type: "worker", ReleaseID: "r1"},
	}}
	if err := s.Commit(t.Context(), a.ID, c); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), a.ID, &Change{Put: []Workload{{ID: "w3", Type: "web", ReleaseID: "r1"}}, Drop: []string{"w1"}}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Workloads(t.Context(), a.ID)
	if err != nil || len(got) != 2 || got[0].ID != "w2" || got[0].Generation != 1 || got[1].Generation != 2 {
		t.Fatalf("workloads %+v, %v", got, err)
	}
}

func TestReopenedDatabaseHoldsEverythingAndNewerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "atoll.db")
	ctx := context.Background()
	s, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.Secret(ctx, "jwt")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(ctx, path); err != nil {
		t.Fatal(err)
	}
	again, err := s.Secret(ctx, "jwt")
	if err != nil || string(again) != string(secret) {
		t.Fatalf("secret changed over a restart (%v)", err)
	}
	if _, err := s.w.ExecContext(ctx, "PRAGMA user_version = 999"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(ctx, path); err == nil {
		t.Fatal("a database of a newer version was opened")
	}
}

// The keys of networks are in the kernel, where those of a lost database
// still are.
func TestKeysOfTwoDatabasesDiffer(t *testing.T) {
	keys := map[uint32]bool{}
	for range 3 {
		s, u := newStore(t)
		p, err := s.DefaultProject(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if keys[p.Network.Key] {
			t.Errorf("key %d was given in two databases", p.Network.Key)
		}
		keys[p.Network.Key] = true
	}
}

func TestAnAppThatWasDestroyedIsKnown(t *testing.T) {
	s, u := newStore(t)
	a, err := s.CreateApp(t.Context(), u, "my-shop", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteApp(t.Context(), u, a.ID); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{a.ID: true, platform.NewAppID(): false} {
		if known, err := s.KnowsApp(t.Context(), id); err != nil || known != want {
			t.Errorf("app %s is known: %v (%v), want %v", id, known, err, want)
		}
	}
}

func TestNetworkEventsReachThoseConcerned(t *testing.T) {
	s, u := newStore(t)
	other, err := s.CreateUser(t.Context(), "bob", "bob@example.test", "Bob", "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.DefaultProject(t.Context(), u.ID)
	if err != nil {
		t.Fatal(err)
	}
	count := func(userID string) (n int) {
		t.Helper()
		events, _, err := s.UserEvents(t.Context(), userID, Page{PerPage: 50})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Type == "network_repair_refused" {
				n++
			}
		}
		return n
	}
	for _, networks := range [][]string{{p.Network.ID}, nil, {"pn-of-another-database"}} {
		if err := s.AddNetworkEvent(t.Context(), "network_repair_refused", networks, map[string]any{"why": "test"}); err != nil {
			t.Fatal(err)
		}
	}
	if count(u.ID) != 3 || count(other.ID) != 2 {
		t.Errorf("the owner got %d events, another user %d; want 3 and 2", count(u.ID), count(other.ID))
	}
}
