package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
)

func TestThePolicyOfAProject(t *testing.T) {
	s := newServer(t)
	shop, catalog := s.createApp("shop-web"), s.createApp("catalog")
	path := "/v1/atoll/projects/" + shop.ProjectID + "/policy"
	a := s.ask("GET", path, "", 200)
	a.want("open", "policy", "mode")
	a.want("", "policy", "warning")
	if rules := a.at("policy", "rules").([]any); len(rules) != 0 {
		t.Errorf("rules are %v", rules)
	}
	s.ask("PUT", path, `{"policy":{"mode":"deny"}}`, 200).want("deny", "policy", "mode")

	a = s.ask("POST", path+"/rules", `{"rule":"shop-web:web -> catalog:api 3000"}`, 201)
	a.wantDate("rule", "created_at")
	rule := a.at("rule").(map[string]any)
	id := rule["id"].(string)
	want := map[string]any{"id": id, "rule": "shop-web:web -> catalog:api 3000/tcp", "protocol": "tcp", "port": 3000., "created_at": rule["created_at"],
		"from": map[string]any{"app_id": shop.ID, "app": "shop-web", "type": "web"}, "to": map[string]any{"app_id": catalog.ID, "app": "catalog", "type": "api"}}
	if diff := cmp.Diff(want, rule); diff != "" {
		t.Error(diff)
	}
	a = s.ask("POST", path+"/rules", `{"rule":"* -> *:api *"}`, 201)
	a.want("*", "rule", "from", "app")
	a.want("", "rule", "from", "app_id")
	a.want("*", "rule", "from", "type")
	a.want("*", "rule", "protocol")
	a.want(0., "rule", "port")

	s.ask("POST", "/v1/apps/catalog/rename", `{"current_name":"catalog","new_name":"inventory"}`, 200)
	s.ask("GET", path, "", 200).want("shop-web:web -> inventory:api 3000/tcp", "policy", "rules", 0, "rule")
	if a := s.ask("DELETE", path+"/rules/"+id, "", 204); a.text != "" {
		t.Errorf("204 with a body %q", a.text)
	}
	s.ask("DELETE", path+"/rules/"+id, "", 404).want("rule", "resource")
	s.ask("GET", path, "", 200).want("*:* -> *:api *", "policy", "rules", 0, "rule")
}

func TestAPolicyThatIsTooLargeSaysSo(t *testing.T) {
	s := newServer(t)
	project := s.createApp("shop-web").ProjectID
	if err := s.store.NotePolicyPairs(t.Context(), project, 9000); err != nil {
		t.Fatal(err)
	}
	if text := s.ask("GET", "/v1/atoll/projects/"+project+"/policy", "", 200).at("policy", "warning").(string); !strings.Contains(text, "9000 pairs") {
		t.Errorf("warning is %q", text)
	}
}

func TestWhatAPolicyRefused(t *testing.T) {
	s := newServer(t)
	project := s.createApp("shop-web").ProjectID
	path := "/v1/atoll/projects/" + project + "/refusals"
	if list := s.ask("GET", path, "", 200).at("refusals").([]any); len(list) != 0 {
		t.Errorf("refusals are %v", list)
	}
	web, api := platform.Party{AppID: "ap-1", App: "shop-web", Type: "web"}, platform.Party{AppID: "ap-2", App: "catalog", Type: "api"}
	(*s.refusals) = fakeRefusals{project: {
		{From: web, To: api, Service: platform.Service{Protocol: platform.TCP, Port: 3000}, Verdict: platform.Denied, Packets: 3, LastSeen: seen},
		{From: web, To: api, Verdict: platform.Denied, Packets: 300, LastSeen: seen},
		{From: web, To: api, Service: platform.Service{Protocol: 47}, Verdict: platform.Denied, Packets: 1, LastSeen: seen},
	}}
	list := s.ask("GET", path, "", 200).at("refusals").([]any)
	shown := func(rule, protocol string, port, packets float64, known bool) any {
		return map[string]any{"rule": rule, "protocol": protocol, "port": port, "port_known": known, "packets": packets, "verdict": "denied", "last_seen": "2026-11-23T12:00:00Z",
			"from": map[string]any{"app_id": "ap-1", "app": "shop-web", "type": "web"}, "to": map[string]any{"app_id": "ap-2", "app": "catalog", "type": "api"}}
	}
	want := []any{shown("shop-web:web -> catalog:api 3000/tcp", "tcp", 3000, 3, true), shown("", "*", 0, 300, false), shown("", "47", 0, 1, true)}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
}

func TestABadChangeOfAPolicyIsRefused(t *testing.T) {
	s := newServer(t)
	path := "/v1/atoll/projects/" + s.createApp("shop-web").ProjectID + "/policy"
	s.ask("PUT", path, `{}`, 400).at("error")
	s.ask("PUT", path, `{"policy":{"mode":"enforce"}}`, 422).at("errors", "mode", 0)
	s.ask("PUT", path, `{"policy":{}}`, 422).at("errors", "mode", 0)
	for body, says := range map[string]string{`{}`: "has no arrow", `{"rule":"shop-web:web -> shop-web:api"}`: "has no port",
		`{"rule":"shop-web:web -> catalog:api 80"}`: `has no app "catalog"`} {
		if text := s.ask("POST", path+"/rules", body, 422).at("errors", "rule", 0).(string); !strings.Contains(text, says) {
			t.Errorf("%s: %q does not say %q", body, text, says)
		}
	}
	s.ask("POST", path+"/rules", `{"rule":"* -> * 80"}`, 201)
	s.ask("POST", path+"/rules", `{"rule":"* -> * 80/tcp"}`, 409).at("error")
}

func TestAPolicyThatIsNotObeyedYetIsToldTo(t *testing.T) {
	s := newServer(t, func(c *Config) {
		c.Policies.(*fakePolicies).obeys = platform.Unavailable("it is saved, but not obeyed yet: no room")
	})
	path := "/v1/atoll/projects/" + s.createApp("shop-web").ProjectID + "/policy"
	s.ask("PUT", path, `{"policy":{"mode":"deny"}}`, 503).want("it is saved, but not obeyed yet: no room", "error")
	s.ask("GET", path, "", 200).want("deny", "policy", "mode")
}

func TestNetworksOfOthersDoNotExist(t *testing.T) {
	s := newServer(t)
	path := strings.NewReplacer("{id}", s.createApp("shop-web").ProjectID, "{rule}", "11111111-1111-4111-8111-111111111111")
	body := map[string]string{"PUT": `{"policy":{"mode":"deny"}}`, "POST": `{"rule":"* -> * 80"}`}
	asked := 0
	for _, r := range s.api.table() {
		if !strings.HasPrefix(r.path, "/v1/atoll/projects/{id}/") {
			continue
		}
		for _, query := range []string{"", "?follow=true"} {
			asked++
			a := s.send(call{method: r.method, path: path.Replace(r.path) + query, body: body[r.method], bearer: s.bobJWT})
			if a.status != 404 {
				t.Errorf("%s %s answered %d %s to bob, want 404", r.method, r.path, a.status, a.text)
				continue
			}
			a.want("project", "resource")
		}
	}
	if asked < 12 {
		t.Errorf("only %d requests were asked", asked)
	}
}
