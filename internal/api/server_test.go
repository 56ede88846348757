package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/api/auth"
	"github.com/atollhq/atoll/internal/oneoff"
	"github.com/atollhq/atoll/internal/oneoff/oneofftest"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/reconcile"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/store"
)

const testPassword = "correct horse battery"

// server is the API on a real store, with small fakes for what needs
// containers.
type server struct {
	*httptest.Server
	t        *testing.T
	api      *API
	store    *store.Store
	control  *fakeControl
	logs     *fakeLogs
	streams  *fakeDeployments
	roster   *roster.Roster
	engine   *oneofftest.Engine
	traffic  *fakeTraffic
	refusals *fakeRefusals
	logged   *bytes.Buffer

	ada, bob         platform.User
	adaToken, adaJWT string
	bobJWT           string
	sources          string
}

func newServer(t *testing.T, change ...func(*Config)) *server {
	t.Helper()
	ctx := t.Context()
	st, err := store.Open(ctx, filepath.Join(t.TempDir(), "atoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if _, err := st.EnsureStack(ctx, store.Stack{Name: "atoll-12", Description: "Debian 12", BaseImage: "x", Default: true}); err != nil {
		t.Fatal(err)
	}
	hash, err := auth.HashPassword(testPassword)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, store: st, roster: roster.New(), logs: newFakeLogs(), streams: newFakeDeployments(), traffic: newFakeTraffic(), refusals: &fakeRefusals{}, sources: t.TempDir()}
	s.control = &fakeControl{Store: st}
	if s.ada, err = st.CreateUser(ctx, "ada", "ada@example.test", "Ada L.", hash); err != nil {
		t.Fatal(err)
	}
	if s.bob, err = st.CreateUser(ctx, "bob", "bob@example.test", "", ""); err != nil {
		t.Fatal(err)
	}
	s.engine = &oneofftest.Engine{Roster: s.roster}
	reconciler := &reconcile.Reconciler{Store: st, Region: "local"}
	oneOffs, err := oneoff.New(oneoff.Config{Store: st, Engine: s.engine, Roster: s.roster, Compose: reconciler.Compose, Dir: t.TempDir(),
		OpenLog: func(string, string) (oneoff.AppLog, error) { return nil, errors.New("there are no logs") }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	following, stop := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() { followed <- oneOffs.Run(following) }()
	t.Cleanup(func() { stop(); <-followed })
	s.logged = &bytes.Buffer{}
	c := Config{Store: st, Control: s.control, OneOffs: oneOffs, Deployments: s.streams, Logs: s.logs, Roster: s.roster, Diagnoser: &fakeDiagnoser{}, Sources: s.sources,
		Policies: &fakePolicies{Store: st}, Traffic: s.traffic, Refusals: s.refusals,
		AppURL: func(app string) string { return "http://" + app + ".apps.test" }, MaxSource: 1 << 20,
		Log: slog.New(slog.NewTextHandler(&locked{w: s.logged}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range change {
		f(&c)
	}
	if s.api, err = New(ctx, c); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(s.api)
	t.Cleanup(func() {
		s.api.Close()
		s.Close()
	})
	s.adaToken, s.adaJWT = s.session(s.ada)
	_, s.bobJWT = s.session(s.bob)
	return s
}

// session makes an API token in the store and exchanges it over HTTP.
func (s *server) session(u platform.User) (token, jwt string) {
	s.t.Helper()
	_, token, err := s.store.CreateToken(s.t.Context(), u.ID, "test")
	if err != nil {
		s.t.Fatal(err)
	}
	a := s.send(call{method: "POST", path: "/v1/tokens/exchange", body: "{}", basic: []string{"", token}})
	if a.status != 200 {
		s.t.Fatalf("exchange answered %d %s", a.status, a.text)
	}
	return token, a.at("token").(string)
}

// call is one request.
type call struct {
	method, path, body string
	bearer             string
	basic              []string
	header             map[string]string
}

// reply is one answer.
type reply struct {
	t      *testing.T
	status int
	header http.Header
	text   string
	json   any
}

func (s *server) send(c call) reply {
	s.t.Helper()
	url := c.path
	if strings.HasPrefix(url, "/") {
		url = s.URL + url
	}
	req, err := http.NewRequestWithContext(s.t.Context(), c.method, url, strings.NewReader(c.body))
	if err != nil {
		s.t.Fatal(err)
	}
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	if c.basic != nil {
		req.SetBasicAuth(c.basic[0], c.basic[1])
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	client := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := reply{t: s.t, status: resp.StatusCode, header: resp.Header, text: string(b)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(b, &a.json); err != nil {
			s.t.Fatalf("%s %s: answer is not JSON: %s", c.method, c.path, b)
		}
	}
	return a
}

// ask sends a request as ada and wants a status.
func (s *server) ask(method, path, body string, status int) reply {
	s.t.Helper()
	a := s.send(call{method: method, path: path, body: body, bearer: s.adaJWT})
	if a.status != status {
		s.t.Fatalf("%s %s answered %d %s, want %d", method, path, a.status, a.text, status)
	}
	return a
}

// at walks into the JSON answer: strings are keys, ints are indexes.
func (a reply) at(path ...any) any {
	a.t.Helper()
	v := a.json
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				a.t.Fatalf("%v in %s: no object at %q", path, a.text, p)
			}
			if v, ok = m[p]; !ok {
				a.t.Fatalf("%v is not in %s", path, a.text)
			}
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				a.t.Fatalf("%v in %s: no element %d", path, a.text, p)
			}
			v = l[p]
		}
	}
	return v
}

func (a reply) want(value any, path ...any) {
	a.t.Helper()
	if got := a.at(path...); got != value {
		a.t.Errorf("%v is %#v, want %#v", path, got, value)
	}
}

func (a reply) wantDate(path ...any) {
	a.t.Helper()
	text, _ := a.at(path...).(string)
	if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
		a.t.Errorf("%v is %#v, want a RFC 3339 date", path, a.at(path...))
	}
}

// createApp makes an app of ada's.
func (s *server) createApp(name string) platform.App {
	s.t.Helper()
	a, err := s.store.CreateApp(s.t.Context(), s.ada, name, "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *server) networkOf(app platform.App) platform.PrivateNetwork {
	s.t.Helper()
	p, err := s.store.ProjectByID(s.t.Context(), app.ProjectID)
	if err != nil {
		s.t.Fatal(err)
	}
	return p.Network
}
