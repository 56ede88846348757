package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/client/apitest"
)

// quick makes polls and waits short.
const quick = 15 * time.Millisecond

func newClient(t *testing.T, s *apitest.Server) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: s.URL, Token: apitest.Token, Version: "test", PollInterval: quick, GiveUp: 10 * quick})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// within bounds a test that would hang when the client does.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestParseURL(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:8080":       "http://127.0.0.1:8080",
		" https://API.example.com/ ":  "https://api.example.com",
		"https://example.com/v1/":     "https://example.com",
		"https://example.com/atoll/":  "https://example.com/atoll",
		"api.example.com":             "",
		"ftp://example.com":           "",
		"https://":                    "",
		"https://u:p@example.com":     "",
		"https://example.com?x=1":     "",
		"http://[::1":                 "",
		"":                            "",
		"https://example.com/a#there": "",
	} {
		u, err := client.ParseURL(in)
		if got := ""; err == nil {
			got = u.String()
			if got != want {
				t.Errorf("ParseURL(%q) = %q, want %q", in, got, want)
			}
		} else if want != "" {
			t.Errorf("ParseURL(%q): %v", in, err)
		}
	}
}

func TestOneExchangeServesManyRequests(t *testing.T) {
	s := apitest.New(t)
	c := newClient(t, s)
	for range 3 {
		if _, err := c.Apps(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Exchanges(); got != 1 {
		t.Errorf("%d exchanges, want 1", got)
	}
}

func TestShortLivedJWTIsRenewed(t *testing.T) {
	s := apitest.New(t)
	s.JWTLife = 4 * time.Minute
	c := newClient(t, s)
	for range 2 {
		if _, err := c.Apps(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Exchanges(); got != 2 {
		t.Errorf("%d exchanges, want 2: less than five minutes were left", got)
	}
}

func TestRefusedJWTIsExchangedOnce(t *testing.T) {
	s := apitest.New(t)
	c := newClient(t, s)
	if _, err := c.Apps(within(t)); err != nil {
		t.Fatal(err)
	}
	s.RevokeJWTs()
	if _, err := c.Apps(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := s.Exchanges(); got != 2 {
		t.Errorf("%d exchanges, want 2", got)
	}
	s.Override("GET /v1/apps", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(401)
		_, _ = io.WriteString(w, `{"error":""}`)
	})
	_, err := c.Apps(within(t))
	if client.StatusOf(err) != 401 {
		t.Errorf("got %v, want a 401", err)
	}
	if got := s.Exchanges(); got != 3 {
		t.Errorf("%d exchanges, want 3: one more, and no loop", got)
	}
}

func TestWrongTokenNamesTheServer(t *testing.T) {
	s := apitest.New(t)
	c, err := client.New(client.Config{URL: s.URL, Token: "tk-us-wrong"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Self(within(t))
	if client.StatusOf(err) != 401 || !strings.Contains(err.Error(), "does not accept the API token") {
		t.Errorf("got %v", err)
	}
}

func TestUnusableJWT(t *testing.T) {
	for _, jwt := range []string{"", "a.b", "a.!.c", "a.e30.c", "a.bm8.c"} {
		s := apitest.New(t)
		s.Override("POST /v1/tokens/exchange", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"token":"`+jwt+`"}`)
		})
		if _, err := newClient(t, s).Self(within(t)); err == nil || !strings.Contains(err.Error(), "unusable token") {
			t.Errorf("JWT %q: got %v", jwt, err)
		}
	}
}

func TestCreateToken(t *testing.T) {
	s := apitest.New(t)
	c := newClient(t, s)
	token, err := c.CreateToken(within(t), apitest.User, apitest.Password, "test")
	if err != nil || token.Secret != apitest.Token {
		t.Errorf("got %+v, %v", token, err)
	}
	_, err = c.CreateToken(within(t), apitest.User, "wrong", "test")
	if client.StatusOf(err) != 401 || !strings.Contains(err.Error(), "password is wrong") {
		t.Errorf("got %v", err)
	}
}

func TestErrorAnswers(t *testing.T) {
	for _, test := range []struct {
		name, body, location string
		status               int
		want                 client.Error
		text                 string
	}{
		{name: "bad request", status: 400, body: `{"error":"no","code":"x"}`, want: client.Error{Status: 400, Message: "no", Code: "x"}, text: "cannot list the apps: no"},
		{name: "forbidden", status: 403, body: `{"error":"not yours"}`, want: client.Error{Status: 403, Message: "not yours"}, text: "cannot list the apps: not yours"},
		{name: "not found", status: 404, body: `{"resource":"app","error":""}`, want: client.Error{Status: 404, Resource: "app"}, text: "cannot list the apps: the app was not found"},
		{name: "conflict", status: 409, body: `{"error":"busy"}`, want: client.Error{Status: 409, Message: "busy"}, text: "cannot list the apps: busy"},
		{name: "fields", status: 422, body: `{"errors":{"name":["is bad","is short"],"age":["is low"]}}`,
			want: client.Error{Status: 422, Fields: map[string][]string{"name": {"is bad", "is short"}, "age": {"is low"}}},
			text: "cannot list the apps: age is low; name is bad, is short"},
		{name: "too many", status: 429, body: `{}`, want: client.Error{Status: 429}, text: "cannot list the apps: too many requests; wait a minute and try again"},
		{name: "server", status: 500, body: `{}`, want: client.Error{Status: 500}, text: "cannot list the apps: the server failed (500 Internal Server Error); its log says why"},
		{name: "proxy page", status: 502, body: `<html>`, want: client.Error{Status: 502}, text: "cannot list the apps: the server failed (502 Bad Gateway); its log says why"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := apitest.New(t)
			s.Override("GET /v1/apps", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			_, err := newClient(t, s).Apps(within(t))
			var got *client.Error
			if !errors.As(err, &got) {
				t.Fatalf("got %v", err)
			}
			if got.Status != test.want.Status || got.Message != test.want.Message || got.Code != test.want.Code || got.Resource != test.want.Resource || len(got.Fields) != len(test.want.Fields) {
				t.Errorf("got %+v, want %+v", *got, test.want)
			}
			if err.Error() != test.text {
				t.Errorf("text %q, want %q", err, test.text)
			}
		})
	}
}

func TestAnswersThatAreNoAPI(t *testing.T) {
	for _, test := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"page instead of JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "check that the URL is that of an Atoll API"},
		{"404 page", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "check that the URL is that of an Atoll API"},
		{"wrong success status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); _, _ = io.WriteString(w, "{}") }, "unexpected status 201"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://else.example/v1/apps", http.StatusMovedPermanently)
		}, "redirects to https://else.example/v1/apps"},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}, "broke off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := apitest.New(t)
			s.Override("GET /v1/apps", test.h)
			_, err := newClient(t, s).Apps(within(t))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	c, err := client.New(client.Config{URL: url, Token: apitest.Token})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Apps(within(t))
	var unreachable *client.UnreachableError
	if !errors.As(err, &unreachable) || unreachable.URL != url || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestSilentServerEndsWithTheTimeout(t *testing.T) {
	s := apitest.New(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	s.Override("GET /v1/apps", func(http.ResponseWriter, *http.Request) { <-release })
	c, err := client.New(client.Config{URL: s.URL, Token: apitest.Token, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Apps(within(t))
	var unreachable *client.UnreachableError
	if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = newClient(t, s).Apps(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the caller's context", err)
	}
}

func TestResources(t *testing.T) {
	s := apitest.New(t)
	c, ctx := newClient(t, s), within(t)
	project, err := c.CreateProject(ctx, "shop", false)
	if err != nil || project.Name != "shop" || !project.HasNetwork() {
		t.Fatalf("%+v, %v", project, err)
	}
	network, err := c.ProjectNetwork(ctx, project.ID)
	if err != nil || network.Subnet != "10.240.0.0/22" || network.MaxIPs != 1022 || len(network.UsedList) != 3 {
		t.Errorf("%+v, %v", network, err)
	}
	app, err := c.CreateApp(ctx, "gateway", project.ID)
	if err != nil || app.Project.ID != project.ID || app.Links.DeploymentsStream == "" || !app.LastDeployedAt.IsZero() {
		t.Fatalf("%+v, %v", app, err)
	}
	if app, err = c.RenameApp(ctx, "gateway", "frontdoor"); err != nil || app.Name != "frontdoor" {
		t.Errorf("%+v, %v", app, err)
	}
	if err := c.SetVariables(ctx, "frontdoor", []client.Variable{{Name: "A", Value: "1"}, {Name: "B", Value: "$A"}}); err != nil {
		t.Error(err)
	}
	vars, err := c.Variables(ctx, "frontdoor", true)
	if err != nil || len(vars) != 2 || vars[1].Value != "1" {
		t.Errorf("%+v, %v", vars, err)
	}
	if err := c.UnsetVariable(ctx, "frontdoor", vars[0].ID); err != nil {
		t.Error(err)
	}
	names, err := c.Names(ctx, "frontdoor")
	if err != nil || len(names) != 3 {
		t.Errorf("names over two pages: %v, %v", names, err)
	}
	if err := c.DestroyApp(ctx, "frontdoor"); err != nil {
		t.Error(err)
	}
	if _, err := c.App(ctx, "frontdoor"); client.StatusOf(err) != 404 {
		t.Errorf("got %v, want 404", err)
	}
	if err := c.DeleteProject(ctx, project.ID); err != nil {
		t.Error(err)
	}
}

func TestScaleAndWait(t *testing.T) {
	s := apitest.New(t)
	s.AddApp("gateway")
	c, ctx := newClient(t, s), within(t)
	formation, op, err := c.ScaleApp(ctx, "gateway", []client.Scale{{Name: "web", Amount: 0}})
	if err != nil || op != "" || formation[0].Amount != 0 || formation[0].Size != "M" {
		t.Errorf("before the first deployment: %+v, %q, %v", formation, op, err)
	}
	s.SetRunning("gateway")
	s.OperationPolls = 3
	_, op, err = c.ScaleApp(ctx, "gateway", []client.Scale{{Name: "web", Amount: 2, Size: "L"}})
	if err != nil || op == "" {
		t.Fatalf("%q, %v", op, err)
	}
	done, err := c.WaitOperation(ctx, "gateway", op)
	if err != nil || done.Status != "done" {
		t.Errorf("%+v, %v", done, err)
	}
	_, _, err = c.ScaleApp(ctx, "gateway", []client.Scale{{Name: "api", Amount: 1}})
	var answer *client.Error
	if !errors.As(err, &answer) || answer.Resource != "container_type" {
		t.Errorf("got %v", err)
	}
}

func TestWaitOperationOutlastsARestartOfTheServer(t *testing.T) {
	s := apitest.New(t)
	s.AddApp("gateway")
	s.SetRunning("gateway")
	c, ctx := newClient(t, s), within(t)
	op, err := c.RestartApp(ctx, "gateway", nil)
	if err != nil {
		t.Fatal(err)
	}
	path, failures := "GET /v1/apps/gateway/operations/"+op, 0
	s.Override(path, func(w http.ResponseWriter, _ *http.Request) {
		if failures++; failures == 3 {
			s.Override(path, nil)
		}
		w.WriteHeader(503)
	})
	if done, err := c.WaitOperation(ctx, "gateway", op); err != nil || done.Status != "done" {
		t.Errorf("%+v, %v", done, err)
	}
	s.Override(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	if _, err := c.WaitOperation(ctx, "gateway", op); err == nil || !strings.Contains(err.Error(), "gave up") {
		t.Errorf("got %v", err)
	}
}
