package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
)

func TestRefusalsAreKeptUntilTheirAppsGo(t *testing.T) {
	s, u := newStore(t)
	ctx := t.Context()
	shop, _ := s.CreateApp(ctx, u, "shop-web", "", "")
	catalog, _ := s.CreateApp(ctx, u, "catalog", "", "")
	staging, _ := s.CreateProject(ctx, u, "staging", false)
	elsewhere, _ := s.CreateApp(ctx, u, "elsewhere", staging.ID, "")
	party := func(a platform.App, kind string) platform.Party {
		return platform.Party{AppID: a.ID, App: a.Name, Type: kind}
	}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	api := platform.Refusal{From: party(shop, "web"), To: party(catalog, "api"), Service: platform.Service{Protocol: platform.TCP, Port: 3000}, Verdict: platform.WouldDeny, Packets: 3, LastSeen: at}
	self := platform.Refusal{From: party(shop, "web"), To: party(shop, "web"), Verdict: platform.Denied, Packets: 1, LastSeen: at}
	foreign, gone := api, api
	foreign.To = party(elsewhere, "web")
	gone.From.AppID = "ap-gone"
	keep := func(changed []platform.Refusal, forgotten ...platform.Refusal) {
		t.Helper()
		if err := s.KeepRefusals(ctx, changed, forgotten); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want ...platform.Refusal) {
		t.Helper()
		got, err := s.Refusals(ctx, shop.ProjectID)
		if err != nil {
			t.Fatal(err)
		}
		order := cmp.Transformer("set", func(list []platform.Refusal) map[platform.Refusal]bool {
			set := map[platform.Refusal]bool{}
			for _, r := range list {
				set[r] = true
			}
			return set
		})
		if diff := cmp.Diff(want, got, order); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	keep([]platform.Refusal{api, self, foreign, gone})
	want(api, self)
	api.Packets, api.LastSeen = 9, at.Add(time.Hour)
	keep([]platform.Refusal{api}, self)
	want(api)
	if _, err := s.RenameApp(ctx, u, catalog.ID, "inventory"); err != nil {
		t.Fatal(err)
	}
	api.To.App = "inventory"
	want(api)
	if list, err := s.Refusals(ctx, staging.ID); err != nil || len(list) != 0 {
		t.Errorf("another project has %+v, %v", list, err)
	}
	if err := s.DeleteApp(ctx, u, catalog.ID); err != nil {
		t.Fatal(err)
	}
	want()
}

func TestRestrictedProjects(t *testing.T) {
	s, u := newStore(t)
	ctx := t.Context()
	if list, err := s.RestrictedProjects(ctx); err != nil || len(list) != 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	staging, _ := s.CreateProject(ctx, u, "staging", false)
	for _, mode := range []platform.PolicyMode{platform.PolicyDryRun, platform.PolicyDeny} {
		if err := s.SetPolicyMode(ctx, u, staging.ID, mode); err != nil {
			t.Fatal(err)
		}
		if list, err := s.RestrictedProjects(ctx); err != nil || len(list) != 1 || list[0].Network != staging.Network {
			t.Errorf("%s: %+v, %v", mode, list, err)
		}
	}
}
