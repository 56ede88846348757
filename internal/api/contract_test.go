package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// These tests are about the conventions of all of the API; what each
// resource looks like is tested beside it.

func TestWhatIsNotThereIsJSON404(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/", "/v1", "/v1/", "/v2/apps", "/v1/apps/", "/v1//apps", "/v1/../v1/apps", "/api/databases/ad-1",
		"/v1/apps/some-app/nothing", "/v1/apps/some-app/stats"} {
		a := s.send(call{method: "GET", path: path, bearer: s.adaJWT})
		if a.status != 404 {
			t.Errorf("%s answered %d %s, want 404", path, a.status, a.text)
			continue
		}
		a.want("", "resource")
		if text := a.at("error").(string); text == "" {
			t.Errorf("%s: no error text", path)
		}
	}
}

func TestAWrongMethodIsJSON405(t *testing.T) {
	s := newServer(t)
	a := s.ask("DELETE", "/v1/apps", "", 405)
	if got := a.header.Get("Allow"); got != "GET, POST" {
		t.Errorf("Allow is %q", got)
	}
	a.at("error")
}

func TestABareQuestionMarkIsNoQuery(t *testing.T) {
	s := newServer(t)
	s.ask("GET", "/v1/apps?", "", 200).at("apps")
}

func TestEveryRouteButThePublicOnesNeedsCredentials(t *testing.T) {
	s := newServer(t)
	public := map[string]bool{"GET /healthz": true, "GET /v1/regions": true, "GET /v1/notification_platforms": true,
		// Its credentials are in the first frame.
		"GET /v1/apps/{app}/deployments/stream": true}
	path := strings.NewReplacer("{app}", "some-app", "{id}", "some-id", "{rule}", "some-rule")
	for _, r := range s.api.table() {
		if public[r.method+" "+r.path] {
			continue
		}
		for name, c := range map[string]call{
			"nothing":          {},
			"a made-up bearer": {bearer: "a.b.c"},
			"an API token":     {bearer: s.adaToken},
			"a wrong basic":    {basic: []string{"", "tk-us-nonsense"}},
		} {
			c.method, c.path, c.body = r.method, path.Replace(r.path), "{}"
			a := s.send(c)
			if a.status != 401 {
				t.Errorf("%s %s with %s answered %d %s, want 401", r.method, r.path, name, a.status, a.text)
				continue
			}
			if a.at("error") == "" {
				t.Errorf("%s %s: a 401 without text", r.method, r.path)
			}
		}
		s.api.brake = freshBrake() // it did its work
	}
}

func TestAppsOfOthersDoNotExist(t *testing.T) {
	s := newServer(t)
	app := s.createApp("adas-app")
	path := strings.NewReplacer("{app}", app.Name, "{id}", "11111111-1111-4111-8111-111111111111")
	for _, r := range s.api.table() {
		if !strings.Contains(r.path, "{app}") || strings.HasSuffix(r.path, "/stream") {
			continue
		}
		body := map[string]string{
			"/v1/apps/{app}/variables":   `{"variables":[{"name":"A","value":"b"}],"variable":{"name":"A","value":"b"}}`,
			"/v1/apps/{app}/scale":       `{"containers":[{"name":"web","amount":1}]}`,
			"/v1/apps/{app}/deployments": `{"deployment":{"source_url":"x"}}`,
			"/v1/apps/{app}/run":         `{"command":"x"}`,
			"/v1/apps/{app}":             `{"force_https":true,"app":{"stack_id":"x"}}`,
		}[r.path]
		a := s.send(call{method: r.method, path: path.Replace(r.path), body: body, bearer: s.bobJWT})
		if a.status != 404 {
			t.Errorf("%s %s answered %d %s to bob, want 404", r.method, r.path, a.status, a.text)
			continue
		}
		a.want("app", "resource")
	}
}

func TestABrokenBodyIs400(t *testing.T) {
	s := newServer(t)
	for _, body := range []string{`{`, `[]`, `"x"`, `{"app":{"name":3}}`, `{"app":{}} trailing`, `{}`} {
		a := s.ask("POST", "/v1/apps", body, 400)
		if a.at("error") == "" {
			t.Errorf("%s: no text", body)
		}
	}
	s.ask("POST", "/v1/apps", `{"app":{"name":"`+strings.Repeat("x", maxBody)+`"}}`, 413).at("error")
}

func TestAnInvalidFieldIs422WithAListPerField(t *testing.T) {
	s := newServer(t)
	a := s.ask("POST", "/v1/apps", `{"app":{"name":"No"}}`, 422)
	if text := a.at("errors", "name", 0).(string); !strings.Contains(text, "6 to 48") {
		t.Errorf("text is %q", text)
	}
}

func TestAPanicIsJSON500AndItsCauseIsInTheLogOnly(t *testing.T) {
	s := newServer(t)
	s.control.panics = true
	a := s.ask("POST", "/v1/projects", `{"project":{"name":"x"}}`, 500)
	if strings.Contains(a.text, "secret cause") {
		t.Errorf("the user sees %s", a.text)
	}
	if id := a.header.Get("X-Request-Id"); !strings.Contains(a.at("error").(string), id) {
		t.Errorf("no request id in %s", a.text)
	}
	s.api.Close()
	s.Close()
	if !strings.Contains(s.logged.String(), "secret cause") {
		t.Error("the log does not know the cause")
	}
}

func TestTokensAreNotLogged(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	a := s.ask("GET", "/v1/apps/"+app.Name+"/logs", "", 200)
	s.send(call{method: "GET", path: a.at("logs_url").(string)})
	s.Close()
	log := s.logged.String()
	if !strings.Contains(log, "/v1/logs/") {
		t.Fatalf("requests are not logged: %s", log)
	}
	for _, secret := range []string{"token=", s.adaJWT, s.adaToken} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

func TestHealthFollowsTheStore(t *testing.T) {
	s := newServer(t)
	if a := s.send(call{method: "GET", path: "/healthz"}); a.status != 200 {
		t.Fatalf("healthy answers %d", a.status)
	}
	s.store.Close()
	if a := s.send(call{method: "GET", path: "/healthz"}); a.status != 503 {
		t.Fatalf("without a store it answers %d, want 503", a.status)
	}
}

func TestLinksFollowTheHostOfTheRequestUnlessTheURLIsSet(t *testing.T) {
	s := newServer(t)
	a := s.send(call{method: "GET", path: "/v1/regions"})
	a.want(s.URL, "regions", 0, "api")
	s = newServer(t, func(c *Config) { c.URL = "https://api.example.test/" })
	app := s.createApp("some-app")
	a = s.send(call{method: "GET", path: "/v1/regions"})
	a.want("https://api.example.test", "regions", 0, "api")
	a.want("https://api.example.test", "regions", 0, "database_api")
	a.want(true, "regions", 0, "default")
	a = s.ask("GET", "/v1/apps/some-app", "", 200)
	a.want("wss://api.example.test/v1/apps/"+app.ID+"/deployments/stream", "app", "links", "deployments_stream")
}

func TestListsThatClientsNeedAreEmptyListsNotNull(t *testing.T) {
	s := newServer(t)
	s.createApp("some-app")
	for path, root := range map[string]string{
		"/v1/keys": "keys", "/v1/addon_providers": "addon_providers", "/v1/databases": "databases", "/v1/scm_integrations": "scm_integrations",
		"/v1/event_types": "event_types", "/v1/notification_platforms": "notification_platforms",
		"/v1/apps/some-app/autoscalers": "autoscalers", "/v1/apps/some-app/domains": "domains", "/v1/apps/some-app/addons": "addons",
		"/v1/apps/some-app/collaborators": "collaborators", "/v1/apps/some-app/alerts": "alerts", "/v1/apps/some-app/log_drains": "drains",
		"/v1/apps/some-app/notifiers": "notifiers", "/v1/apps/some-app/cron_tasks": "jobs", "/v1/apps/some-app/logs_archives": "archives",
		"/v1/apps/some-app/scm_repo_link/review_apps": "review_apps", "/v1/apps/some-app/ps": "containers", "/v1/apps/some-app/variables?aliases=true": "variables",
	} {
		a := s.ask("GET", path, "", 200)
		if l, isList := a.at(root).([]any); !isList || len(l) != 0 {
			t.Errorf("%s: %s", path, a.text)
		}
	}
	s.ask("GET", "/v1/apps/some-app/scm_repo_link", "", 404).want("scm_repo_link", "resource")
}

func TestPagination(t *testing.T) {
	s := newServer(t)
	s.createApp("some-app")
	for i := range 4 {
		s.ask("PUT", "/v1/apps/some-app/variables", fmt.Sprintf(`{"variables":[{"name":"A","value":"%d"}]}`, i), 200)
	}
	// new_app and four edit_variables
	a := s.ask("GET", "/v1/apps/some-app/events?page=2&per_page=2", "", 200)
	for key, want := range map[string]any{"current_page": 2., "prev_page": 1., "next_page": 3., "total_pages": 3., "total_count": 5.} {
		a.want(want, "meta", "pagination", key)
	}
	if n := len(a.at("events").([]any)); n != 2 {
		t.Errorf("page has %d events", n)
	}
	a = s.ask("GET", "/v1/apps/some-app/events?page=9", "", 200)
	a.want(9., "meta", "pagination", "current_page")
	a.want(nil, "meta", "pagination", "next_page")
	if n := len(a.at("events").([]any)); n != 0 {
		t.Errorf("a page behind the end has %d events", n)
	}
	a = s.ask("GET", "/v1/apps/some-app/deployments", "", 200)
	a.want(1., "meta", "pagination", "total_pages")
	for _, q := range []string{"page=0", "page=x", "per_page=0", "per_page=101"} {
		s.ask("GET", "/v1/apps/some-app/events?"+q, "", 422)
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	s := newServer(t)
	req, _ := http.NewRequestWithContext(t.Context(), "HEAD", s.URL+"/v1/regions", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("HEAD answers %d", resp.StatusCode)
	}
}
