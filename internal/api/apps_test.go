package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnAppHasAllThatClientsRead(t *testing.T) {
	s := newServer(t, func(c *Config) {
		c.Region = "home"
		c.GitURL = func(app string) string { return "git@git.test:" + app + ".git" }
	})
	a := s.ask("POST", "/v1/apps", `{"app":{"name":"some-app","project_id":"","hds_resource":false,"unknown":1}}`, 201)
	id := a.at("app", "id").(string)
	if !strings.HasPrefix(id, "ap-") {
		t.Errorf("id is %q", id)
	}
	projects := s.ask("GET", "/v1/projects", "", 200)
	stacks := s.ask("GET", "/v1/features/stacks", "", 200)
	for key, want := range map[string]any{
		"name": "some-app", "region": "home", "status": "new", "git_url": "git@git.test:some-app.git",
		"url": "http://some-app.apps.test", "base_url": "http://some-app.apps.test",
		"last_deployed_at": nil, "last_deployed_by": "", "stack_id": stacks.at("stacks", 0, "id"),
		"sticky_session": false, "force_https": false, "router_logs": false, "hds_resource": false,
	} {
		a.want(want, "app", key)
	}
	a.want(s.ada.ID, "app", "owner", "id")
	a.want("ada", "app", "owner", "username")
	a.want("ada@example.test", "app", "owner", "email")
	a.want(projects.at("projects", 0, "id"), "app", "project", "id")
	a.want("default", "app", "project", "name")
	a.wantDate("app", "created_at")
	a.want("ws"+strings.TrimPrefix(s.URL, "http")+"/v1/apps/"+id+"/deployments/stream", "app", "links", "deployments_stream")
	if ids := a.at("app", "private_networks_ids").([]any); len(ids) != 1 || !strings.HasPrefix(ids[0].(string), "pn-") {
		t.Errorf("private_networks_ids is %v", ids)
	}
	for _, key := range []string{"flags", "limits"} {
		if _, isObject := a.at("app", key).(map[string]any); !isObject {
			t.Errorf("%s is no object: %s", key, a.text)
		}
	}
	byName := s.ask("GET", "/v1/apps/some-app", "", 200)
	byID := s.ask("GET", "/v1/apps/"+id, "", 200)
	list := s.ask("GET", "/v1/apps", "", 200)
	for _, other := range []any{byName.at("app"), byID.at("app"), list.at("apps", 0)} {
		if diff := cmp.Diff(a.at("app"), other); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWhatCreateRefuses(t *testing.T) {
	s := newServer(t)
	s.createApp("taken-app")
	for body, field := range map[string]string{
		`{"app":{"name":"taken-app"}}`:                      "name",
		`{"app":{"name":"bad--name"}}`:                      "name",
		`{"app":{"name":"good-name","stack_id":"nothing"}}`: "stack_id",
		`{"app":{"name":"good-name","parent_id":"ap-1"}}`:   "parent_id",
		`{"app":{"name":"good-name","hds_resource":true}}`:  "hds_resource",
	} {
		s.ask("POST", "/v1/apps", body, 422).at("errors", field, 0)
	}
	s.ask("POST", "/v1/apps", `{"app":{"name":"good-name","project_id":"prj-1"}}`, 404).want("project", "resource")
	a := s.send(call{method: "POST", path: "/v1/apps", body: `{"app":{"name":"good-name"}}`, bearer: s.adaJWT, header: map[string]string{"X-Dry-Run": "true"}})
	if a.status != 400 {
		t.Errorf("a dry run answered %d", a.status)
	}
	s.ask("GET", "/v1/apps/good-name", "", 404)
}

func TestRenameAndDestroyWantTheCurrentName(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	s.ask("POST", "/v1/apps/some-app/rename", `{"current_name":"other-app","new_name":"fine-name"}`, 422).at("errors", "current_name", 0)
	s.ask("POST", "/v1/apps/some-app/rename", `{"current_name":"some-app","new_name":"x"}`, 422).at("errors", "new_name", 0)
	a := s.ask("POST", "/v1/apps/some-app/rename", `{"current_name":"some-app","new_name":"fine-name"}`, 200)
	a.want("fine-name", "app", "name")
	a.want(app.ID, "app", "id")
	s.ask("DELETE", "/v1/apps/fine-name", "", 422).at("errors", "current_name", 0)
	s.ask("DELETE", "/v1/apps/"+app.ID+"?current_name=some-app", "", 422)
	s.ask("DELETE", "/v1/apps/fine-name?current_name=fine-name", "", 204)
	s.ask("GET", "/v1/apps/fine-name", "", 404).want("app", "resource")
}

func TestSwitchesAreUnrooted(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	for _, key := range []string{"force_https", "sticky_session", "router_logs"} {
		s.ask("PUT", "/v1/apps/some-app", `{"`+key+`":true}`, 200).want(true, "app", key)
		s.ask("PUT", "/v1/apps/some-app", `{"`+key+`":false}`, 200).want(false, "app", key)
	}
	s.ask("PUT", "/v1/apps/some-app", `{}`, 400)
	s.ask("PUT", "/v1/apps/some-app", `{"project_id":"`+app.ProjectID+`"}`, 200).want(app.ProjectID, "app", "project", "id")
	other := s.ask("POST", "/v1/projects", `{"project":{"name":"other"}}`, 201).at("project", "id").(string)
	s.ask("PUT", "/v1/apps/some-app", `{"project_id":"`+other+`"}`, 422).at("errors", "project_id", 0)
	s.ask("PUT", "/v1/apps/some-app", `{"project_id":"prj-none"}`, 404).want("project", "resource")
	s.ask("PATCH", "/v1/apps/some-app", `{"app":{"stack_id":"atoll-12"}}`, 200).want(app.StackID, "app", "stack_id")
	s.ask("PATCH", "/v1/apps/some-app", `{"app":{"stack_id":"none"}}`, 422)
	s.ask("PATCH", "/v1/apps/some-app", `{"app":{"owner":{"email":"x"}}}`, 422).at("errors", "owner", 0)
}

func TestVariables(t *testing.T) {
	s := newServer(t)
	s.createApp("some-app")
	path := "/v1/apps/some-app/variables"
	a := s.ask("PUT", path, `{"variables":[{"id":"","name":"URL","value":"redis://x?a=<b>&c"},{"name":"ALIAS","value":"$URL"}]}`, 200)
	if n := len(a.at("variables").([]any)); n != 2 {
		t.Fatalf("%d variables in %s", n, a.text)
	}
	s.ask("POST", path, `{"variable":{"name":"BUILDPACK_URL","value":"x"}}`, 201).want("BUILDPACK_URL", "variable", "name")
	s.ask("GET", path+"?aliases=true", "", 200).want("$URL", "variables", 0, "value")
	s.ask("GET", path, "", 200).want("$URL", "variables", 0, "value")
	a = s.ask("GET", path+"?aliases=false", "", 200)
	a.want("redis://x?a=<b>&c", "variables", 0, "value")
	if strings.Contains(a.text, `\u003c`) {
		t.Errorf("HTML escapes in %s", a.text)
	}
	id := a.at("variables", 0, "id").(string)
	s.ask("DELETE", path+"/"+id, "", 204)
	s.ask("DELETE", path+"/"+id, "", 404).want("variable", "resource")
	a = s.ask("GET", path, "", 200)
	if n := len(a.at("variables").([]any)); n != 2 {
		t.Errorf("%d variables after one was removed", n)
	}
	for _, body := range []string{`{"variables":[{"name":"_A","value":"x"}]}`, `{"variables":[{"name":"A","value":"1"},{"name":"A","value":"2"}]}`,
		`{"variables":[{"name":"A","value":"` + strings.Repeat("x", 32769) + `"}]}`} {
		s.ask("PUT", path, body, 422).at("errors")
	}
	s.ask("PUT", path, `{"variables":[]}`, 400)
}

func TestEventsTellWhoDidWhat(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	s.ask("POST", "/v1/apps/some-app/rename", `{"current_name":"some-app","new_name":"other-app"}`, 200)
	for _, path := range []string{"/v1/apps/other-app/events", "/v1/events"} {
		a := s.ask("GET", path, "", 200)
		a.want("rename_app", "events", 0, "type")
		a.want("some-app", "events", 0, "type_data", "old_name")
		a.want("other-app", "events", 0, "type_data", "new_name")
		a.want(app.ID, "events", 0, "app_id")
		a.want("other-app", "events", 0, "app_name")
		a.want("default", "events", 0, "project_name")
		a.want("ada", "events", 0, "user", "username")
		a.wantDate("events", 0, "created_at")
	}
}

func TestStacksAndSizes(t *testing.T) {
	s := newServer(t)
	a := s.ask("GET", "/v1/features/stacks", "", 200)
	a.want("atoll-12", "stacks", 0, "name")
	a.want(true, "stacks", 0, "default")
	a.want(nil, "stacks", 0, "deprecated_at") // a date here is a decode error
	a = s.ask("GET", "/v1/features/container_sizes", "", 200)
	a.want("M", "container_sizes", 1, "name")
	a.want(float64(512<<20), "container_sizes", 1, "memory")
	a.want(256., "container_sizes", 1, "pids_limit")
	a.want(0., "container_sizes", 1, "swap")
}
