package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/platform"
)

func parse(t *testing.T, text string) platform.Rule {
	t.Helper()
	r, err := platform.ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rulesOf are the rules of a project as people read them.
func rulesOf(t *testing.T, s *Store, projectID string) (texts []string) {
	t.Helper()
	p, err := s.Policy(t.Context(), projectID)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Rules {
		texts = append(texts, r.String())
	}
	return texts
}

func lastEvent(t *testing.T, s *Store, u platform.User) platform.Event {
	t.Helper()
	events, _, err := s.UserEvents(t.Context(), u.ID, Page{1, 1})
	if err != nil || len(events) != 1 {
		t.Fatalf("events %v, %v", events, err)
	}
	return events[0]
}

func TestAPolicyIsOpenUntilItIsChanged(t *testing.T) {
	s, u := newStore(t)
	p, _ := s.DefaultProject(t.Context(), u.ID)
	if now, err := s.Policy(t.Context(), p.ID); err != nil || now.Mode != platform.PolicyOpen || len(now.Rules) != 0 {
		t.Fatalf("a new project has %+v, %v", now, err)
	}
	if err := s.SetPolicyMode(t.Context(), u, p.ID, platform.PolicyDeny); err != nil {
		t.Fatal(err)
	}
	if e := lastEvent(t, s, u); e.Type != "edit_policy" || e.ProjectID != p.ID || e.Data["mode"] != "deny" || e.Data["old_mode"] != "open" {
		t.Errorf("event is %+v", e)
	}
	_, before, _ := s.UserEvents(t.Context(), u.ID, Page{1, 1})
	if err := s.SetPolicyMode(t.Context(), u, p.ID, platform.PolicyDeny); err != nil {
		t.Fatal(err)
	}
	if _, after, _ := s.UserEvents(t.Context(), u.ID, Page{1, 1}); after != before {
		t.Error("no change, but an event")
	}
	if now, _ := s.Policy(t.Context(), p.ID); now.Mode != platform.PolicyDeny {
		t.Errorf("mode is %s", now.Mode)
	}
	wantCode(t, s.SetPolicyMode(t.Context(), u, p.ID, "enforce"), platform.CodeInvalid)
	other, _ := s.CreateUser(t.Context(), "eve", "eve@example.test", "", "")
	wantCode(t, s.SetPolicyMode(t.Context(), other, p.ID, platform.PolicyOpen), platform.CodeNotFound)
	_, err := s.AddRule(t.Context(), other, p.ID, platform.Rule{})
	wantCode(t, err, platform.CodeNotFound)
	_, err = s.Policy(t.Context(), "prj-none")
	wantCode(t, err, platform.CodeNotFound)
}

func TestRulesFollowTheirAppsOverRenamesAndGoWithThem(t *testing.T) {
	s, u := newStore(t)
	ctx := t.Context()
	shop, _ := s.CreateApp(ctx, u, "shop-web", "", "")
	catalog, _ := s.CreateApp(ctx, u, "catalog", "", "")
	project := shop.ProjectID
	add := func(text string) platform.Rule {
		t.Helper()
		r, err := s.AddRule(ctx, u, project, parse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := add("shop-web:web -> catalog:api 3000/tcp")
	if first.ID == "" || first.From.AppID != shop.ID || first.To.AppID != catalog.ID {
		t.Fatalf("rule is %+v", first)
	}
	if e := lastEvent(t, s, u); e.Type != "new_policy_rule" || e.Data["rule"] != first.String() || e.Data["rule_id"] != first.ID {
		t.Errorf("event is %+v", e)
	}
	add("*:cron -> " + catalog.ID + ":* 53/udp")
	add("* -> shop-web:web *")
	third := add("* -> * icmp")
	_, err := s.AddRule(ctx, u, project, parse(t, "shop-web:web -> catalog:api 3000"))
	wantCode(t, err, platform.CodeConflict)
	_, err = s.AddRule(ctx, u, project, parse(t, "*:* -> *:* icmp"))
	wantCode(t, err, platform.CodeConflict)
	_, err = s.AddRule(ctx, u, project, parse(t, "shop-web:web -> nowhere:api 3000"))
	wantCode(t, err, platform.CodeInvalid)

	// Apps of another project are none that a rule could be about.
	staging, _ := s.CreateProject(ctx, u, "staging", false)
	_, err = s.AddRule(ctx, u, staging.ID, parse(t, "shop-web:web -> *:* *"))
	wantCode(t, err, platform.CodeInvalid)

	if _, err := s.RenameApp(ctx, u, catalog.ID, "inventory"); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint([]string{"shop-web:web -> inventory:api 3000/tcp", "*:cron -> inventory:* 53/udp", "*:* -> shop-web:web *", "*:* -> *:* icmp"})
	if got := fmt.Sprint(rulesOf(t, s, project)); got != want {
		t.Errorf("rules are\n%s, want\n%s", got, want)
	}
	if err := s.DeleteApp(ctx, u, catalog.ID); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(rulesOf(t, s, project)); got != "[*:* -> shop-web:web * *:* -> *:* icmp]" {
		t.Errorf("with one app gone the rules are %s", got)
	}
	events, _, _ := s.UserEvents(ctx, u.ID, Page{1, 3})
	if events[0].Type != "delete_app" || events[1].Type != "delete_policy_rule" || events[1].Data["rule"] != "*:cron -> inventory:* 53/udp" || events[2].Type != "delete_policy_rule" {
		t.Errorf("events are %+v", events)
	}
	wantCode(t, s.DeleteRule(ctx, u, staging.ID, third.ID), platform.CodeNotFound)
	if err := s.DeleteRule(ctx, u, project, third.ID); err != nil {
		t.Fatal(err)
	}
	if e := lastEvent(t, s, u); e.Type != "delete_policy_rule" || e.Data["rule"] != third.String() {
		t.Errorf("event is %+v", e)
	}
	wantCode(t, s.DeleteRule(ctx, u, project, third.ID), platform.CodeNotFound)
}

// The id of an app is a valid name of another.
func TestAnIDWinsOverAName(t *testing.T) {
	s, u := newStore(t)
	ctx := t.Context()
	older, _ := s.CreateApp(ctx, u, "shop-web", "", "")
	app, _ := s.CreateApp(ctx, u, "catalog", "", "")
	if _, err := s.RenameApp(ctx, u, older.ID, app.ID); err != nil {
		t.Fatal(err)
	}
	younger, err := s.CreateApp(ctx, u, older.ID, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for named, want := range map[string]string{app.ID: "catalog", older.ID: app.ID, younger.ID: older.ID} {
		r, err := s.ResolveRule(ctx, u, app.ProjectID, parse(t, named+":web -> * 80"))
		if err != nil || r.From.AppID != named || r.From.App != want {
			t.Errorf("%s is %+v, %v; want %s", named, r.From, err, want)
		}
	}
}

func TestAPolicyHasALimitOfRules(t *testing.T) {
	s, u := newStore(t)
	p, _ := s.DefaultProject(t.Context(), u.ID)
	for i := range platform.MaxRules {
		if _, err := s.AddRule(t.Context(), u, p.ID, parse(t, fmt.Sprintf("* -> * %d", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.AddRule(t.Context(), u, p.ID, parse(t, "* -> * 9999"))
	wantCode(t, err, platform.CodeConflict)
}

func TestGroupsAreNeverUsedAgain(t *testing.T) {
	s, u := newStore(t)
	ctx := t.Context()
	a, _ := s.CreateApp(ctx, u, "gateway", "", "")
	group := func(app platform.App, kind string) uint32 {
		t.Helper()
		key, err := s.EnsureGroup(ctx, app.ID, kind)
		if err != nil || key == 0 {
			t.Fatalf("group of %s %s is %d, %v", app.Name, kind, key, err)
		}
		return key
	}
	web := group(a, "web")
	if again := group(a, "web"); again != web {
		t.Fatalf("group is %d, then %d", web, again)
	}
	worker := group(a, "one-off")
	if err := s.DeleteApp(ctx, u, a.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EnsureGroup(ctx, a.ID, "web"); err == nil {
		t.Error("a group of an app that is gone")
	}
	b, _ := s.CreateApp(ctx, u, "gateway", "", "")
	if key := group(b, "web"); key <= web || key <= worker {
		t.Errorf("key %d was used before", key)
	}

	var all sync.WaitGroup
	keys := make([]uint32, 16)
	for i := range keys {
		all.Go(func() { keys[i], _ = s.EnsureGroup(ctx, b.ID, "api") })
	}
	all.Wait()
	for i := range keys {
		if keys[i] != keys[0] || keys[i] == 0 {
			t.Fatalf("keys are %v", keys)
		}
	}
}

func TestThePolicyTable(t *testing.T) {
	s, u := newStore(t)
	ctx := t.Context()
	a, _ := s.CreateApp(ctx, u, "gateway", "", "")
	staging, _ := s.CreateProject(ctx, u, "staging", false)
	if err := s.SetPolicyMode(ctx, u, staging.ID, platform.PolicyDryRun); err != nil {
		t.Fatal(err)
	}
	rule, err := s.AddRule(ctx, u, a.ProjectID, parse(t, "gateway:web -> * 80"))
	if err != nil {
		t.Fatal(err)
	}
	key, _ := s.EnsureGroup(ctx, a.ID, "web")
	table, err := s.PolicyTable(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Projects) != 2 || table.Policies[staging.ID].Mode != platform.PolicyDryRun || table.Policies[a.ProjectID].Rules[0].ID != rule.ID {
		t.Errorf("table is %+v", table)
	}
	if len(table.Groups) != 1 || table.Groups[0] != (Group{Key: key, ProjectID: a.ProjectID, AppID: a.ID, Type: "web"}) {
		t.Errorf("groups are %+v", table.Groups)
	}
}

// A database of the version before has projects but no policies.
func TestAnOlderDatabaseGetsPolicies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "atoll.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	first, err := migrations.ReadFile("migrations/1_first.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(first), `PRAGMA user_version = 1; INSERT INTO users (id, username, email, created_at) VALUES ('us-1', 'ada', 'a@example.test', 1);
		INSERT INTO networks (id) VALUES ('pn-1');
		INSERT INTO projects (id, name, owner_id, network_key, created_at, updated_at) VALUES ('prj-1', 'shop', 'us-1', 1, 1, 1)`} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if p, err := s.Policy(t.Context(), "prj-1"); err != nil || p.Mode != platform.PolicyOpen {
		t.Fatalf("policy is %+v, %v", p, err)
	}
}
