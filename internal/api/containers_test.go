package api

import (
	"net/netip"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
)

func TestScaleOfAnAppThatDoesNotRunIs200(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	a := s.ask("POST", "/v1/apps/some-app/scale", `{"containers":[{"app_id":"","name":"web","amount":0,"command":"","size":"L"}]}`, 200)
	a.want("web", "containers", 0, "name")
	a.want(0., "containers", 0, "amount")
	a.want("L", "containers", 0, "size")
	a.want(app.ID, "containers", 0, "app_id")
	if a.header.Get("Location") != "" {
		t.Error("a 200 has a Location")
	}
}

func TestScaleOfAnAppThatRunsIs202WithAnOperation(t *testing.T) {
	s := newServer(t)
	s.createApp("some-app")
	s.control.deployed = true
	a := s.ask("POST", "/v1/apps/some-app/scale", `{"containers":[{"name":"web","amount":3,"size":""}]}`, 202)
	a.want(3., "containers", 0, "amount")
	a.want("M", "containers", 0, "size") // "" keeps it
	// Clients take the last segment of Location as the operation's id.
	op := s.ask("GET", "/v1/apps/some-app/operations/"+path.Base(a.header.Get("Location")), "", 200)
	op.want("scale", "operation", "type")
	op.want("running", "operation", "status")
	op.want(nil, "operation", "finished_at")
	op.wantDate("operation", "created_at")
	if followed := s.send(call{method: "GET", path: a.header.Get("Location"), bearer: s.adaJWT}); followed.status != 200 {
		t.Errorf("Location %s answers %d", a.header.Get("Location"), followed.status)
	}
	a = s.ask("GET", "/v1/apps/some-app/containers", "", 200)
	a.want(3., "containers", 0, "amount")
	a.want("", "containers", 0, "command")
	s.ask("GET", "/v1/apps/some-app/operations/nothing", "", 404).want("operation", "resource")
}

func TestWhatScaleRefuses(t *testing.T) {
	s := newServer(t)
	s.createApp("some-app")
	for _, entry := range []string{
		`{"name":"nothing","amount":1}`, `{"name":"web","amount":1023}`, `{"name":"web","amount":-1}`, `{"name":"web","amount":1,"size":"XXS"}`,
		`{"name":"web"}`, `{"name":"","amount":1}`, `{"name":"web","amount":1},{"name":"web","amount":2}`,
	} {
		a := s.ask("POST", "/v1/apps/some-app/scale", `{"containers":[`+entry+`]}`, 422)
		if len(a.at("errors").(map[string]any)) == 0 {
			t.Errorf("%s: no field", entry)
		}
	}
	for _, body := range []string{`{}`, `{"containers":[]}`, `{"containers":[{"name":"web","amount":"3"}]}`} {
		s.ask("POST", "/v1/apps/some-app/scale", body, 400)
	}
	a := s.ask("GET", "/v1/apps/some-app/containers", "", 200)
	a.want(1., "containers", 0, "amount")
}

func TestRestart(t *testing.T) {
	s := newServer(t)
	s.createApp("some-app")
	for body, want := range map[string][]string{`{"scope":["web","api-2"]}`: {"web", "api-2"}, `{"scope":null}`: nil, `{"scope":[]}`: {}, ``: nil} {
		a := s.ask("POST", "/v1/apps/some-app/restart", body, 202)
		if diff := cmp.Diff(want, s.control.scope); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
		op := s.ask("GET", "/v1/apps/some-app/operations/"+path.Base(a.header.Get("Location")), "", 200)
		op.want("done", "operation", "status")
		op.wantDate("operation", "finished_at")
	}
}

// TestPsShowsWhoHasTheNumberFirst: as the numbered name does.
func TestPsShowsWhoHasTheNumberFirst(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	for id, state := range map[string]platform.InstanceState{"c1": platform.InstanceDraining, "c2": platform.InstanceRunning} {
		s.roster.Put(platform.Instance{ID: id, AppID: app.ID, Type: "api", Kind: platform.KindApp, Number: 1, Generation: 1, Active: true, State: state, Size: "M"})
	}
	a := s.ask("GET", "/v1/apps/some-app/ps", "", 200)
	a.want("c2", "containers", 0, "id")
	a.want("c1", "containers", 1, "id")
}

func TestPsShowsTheRoster(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	started := time.Now()
	s.roster.Put(platform.Instance{ID: "c2", AppID: app.ID, Type: "web", Kind: platform.KindApp, Number: 1, Active: true,
		State: platform.InstanceRunning, PrivateAddr: netip.MustParseAddr("10.240.0.2"), Size: "L", Command: "serve", CreatedAt: started, StartedAt: started})
	s.roster.Observe("c2", started, platform.Observation{Ready: true, Listeners: []platform.Listener{{Protocol: "tcp", Addr: netip.MustParseAddr("0.0.0.0"), Port: 8080}}})
	s.roster.Put(platform.Instance{ID: "c1", AppID: app.ID, Type: "one-off", Kind: platform.KindOneOff, Number: 4, State: platform.InstanceCrashed, Reason: "exit code 1", Size: "M"})
	s.roster.Put(platform.Instance{ID: "c3", AppID: "ap-other", Type: "web", Number: 1})

	a := s.ask("GET", "/v1/apps/some-app/ps", "", 200)
	if n := len(a.at("containers").([]any)); n != 2 {
		t.Fatalf("%d containers: %s", n, a.text)
	}
	for key, want := range map[string]any{"id": "c2", "app_id": app.ID, "type": "web", "type_index": 1., "label": "web-1",
		"state": "running", "command": "serve", "deleted_at": nil} {
		a.want(want, "containers", 1, key)
	}
	a.want(app.ID, "containers", 1, "app", "id")
	a.want("some-app", "containers", 1, "app", "name")
	a.want("one-off-4", "containers", 0, "label")
	a.want("exit code 1", "containers", 0, "atoll", "reason")
	for i := range 2 { // clients crash on null
		a.wantDate("containers", i, "created_at")
	}
	a.want("L", "containers", 1, "container_size", "name")
	a.want(float64(1<<30), "containers", 1, "container_size", "memory")
	if name := a.at("containers", 1, "container_size", "human_name").(string); !strings.Contains(name, "L") {
		t.Errorf("human name is %q", name)
	}
	a.want(true, "containers", 1, "atoll", "in_service")
	a.want("10.240.0.2", "containers", 1, "atoll", "private_ip")
	a.want(8080., "containers", 1, "atoll", "listens", 0, "port")
}
