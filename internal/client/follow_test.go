package client_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/client/apitest"
)

// heard collects what a Follower was told.
type heard struct {
	log      strings.Builder
	statuses []string
	notices  []string
}

func (h *heard) follower() client.Follower {
	return client.Follower{
		Log:    func(text string) { h.log.WriteString(text) },
		Status: func(status string) { h.statuses = append(h.statuses, status) },
		Notice: func(text string) { h.notices = append(h.notices, text) },
	}
}

// deploy runs a whole deployment of the app gateway and follows it; change is
// called in between.
func deploy(t *testing.T, s *apitest.Server, change func(*client.App)) (client.Deployment, *heard, error) {
	t.Helper()
	s.AddApp("gateway")
	c, ctx := newClient(t, s), within(t)
	source, err := c.CreateSource(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Upload(ctx, source, strings.NewReader("archive"), 7); err != nil {
		t.Fatal(err)
	}
	app, err := c.App(ctx, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.CreateDeployment(ctx, "gateway", source, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&app)
	}
	var h heard
	final, err := c.FollowDeployment(ctx, app.Links.DeploymentsStream, "gateway", d.ID, h.follower())
	return final, &h, err
}

func (h *heard) check(t *testing.T, log string, statuses ...string) {
	t.Helper()
	if h.log.String() != log {
		t.Errorf("log %q, want %q", h.log.String(), log)
	}
	if strings.Join(h.statuses, " ") != strings.Join(statuses, " ") {
		t.Errorf("statuses %v, want %v", h.statuses, statuses)
	}
}

func TestFollowLive(t *testing.T) {
	s := apitest.New(t)
	s.Script = func(d *apitest.Deployment) {
		d.AwaitStream()
		if !bytes.Equal(d.Archive, []byte("archive")) {
			t.Errorf("archive %q", d.Archive)
		}
		d.Status("building")
		d.Log("one\n")
		d.Log("two\n")
		d.Status("starting")
		d.Status("success")
	}
	final, h, err := deploy(t, s, nil)
	if err != nil || !final.Succeeded() || final.GitRef != "v1" {
		t.Fatalf("%+v, %v", final, err)
	}
	if len(h.statuses) > 0 && h.statuses[0] == "queued" {
		h.statuses = h.statuses[1:] // seen by a poll before the script began
	}
	h.check(t, "one\ntwo\n", "building", "starting", "success")
	if len(h.notices) > 0 {
		t.Errorf("notices %v", h.notices)
	}
}

func TestFollowFinishedBeforeTheStream(t *testing.T) {
	s := apitest.New(t)
	over := make(chan struct{})
	s.Script = func(d *apitest.Deployment) {
		d.Log("quick\n")
		d.Status("build-error")
		close(over)
	}
	final, h, err := deploy(t, s, func(*client.App) { <-over })
	if err != nil || final.Status != "build-error" || final.Succeeded() {
		t.Fatalf("%+v, %v", final, err)
	}
	if h.log.String() != "quick\n" || h.statuses[len(h.statuses)-1] != "build-error" {
		t.Errorf("%q %v", h.log.String(), h.statuses)
	}
}

func TestFollowWithoutAnyStream(t *testing.T) {
	for name, url := range map[string]string{"no address": "", "refused": "ws://127.0.0.1:1/stream"} {
		t.Run(name, func(t *testing.T) {
			s := apitest.New(t)
			s.Script = func(d *apitest.Deployment) {
				d.Status("building")
				d.Log("all of it\n")
				d.Status("success")
			}
			final, h, err := deploy(t, s, func(app *client.App) { app.Links.DeploymentsStream = url })
			if err != nil || !final.Succeeded() {
				t.Fatalf("%+v, %v", final, err)
			}
			if h.log.String() != "all of it\n" || h.statuses[len(h.statuses)-1] != "success" {
				t.Errorf("%q %v", h.log.String(), h.statuses)
			}
		})
	}
}

func TestFollowReconnectsAndRepeatsNothing(t *testing.T) {
	s := apitest.New(t)
	s.Script = func(d *apitest.Deployment) {
		d.AwaitStream()
		d.Status("building")
		d.Log("one\n")
		d.Log("two\n")
		d.Drop()
		d.Log("three\n")
		d.AwaitStream()
		d.Log("four\n")
		d.Drop()
		d.Status("starting")
		d.AwaitStream()
		d.LogUnseen("five\n")
		d.Status("success")
	}
	final, h, err := deploy(t, s, nil)
	if err != nil || !final.Succeeded() {
		t.Fatalf("%+v, %v", final, err)
	}
	if h.log.String() != "one\ntwo\nthree\nfour\nfive\n" {
		t.Errorf("log %q", h.log.String())
	}
	seen := map[string]int{}
	for _, status := range h.statuses {
		if seen[status]++; seen[status] > 1 {
			t.Errorf("status %s came twice: %v", status, h.statuses)
		}
	}
}

func TestFollowSurvivesFailingPolls(t *testing.T) {
	s := apitest.New(t)
	s.Script = func(d *apitest.Deployment) {
		d.AwaitStream()
		s.Override("GET /v1/apps/gateway/deployments/"+d.ID(), func(w http.ResponseWriter, _ *http.Request) {
			s.Override("GET /v1/apps/gateway/deployments/"+d.ID(), nil)
			w.WriteHeader(502)
		})
		d.Status("success")
	}
	if final, _, err := deploy(t, s, nil); err != nil || !final.Succeeded() {
		t.Errorf("%+v, %v", final, err)
	}
}

func TestFollowGivesUpOnADeadServer(t *testing.T) {
	s := apitest.New(t)
	s.Script = func(d *apitest.Deployment) {
		s.Override("GET /v1/apps/gateway/deployments/"+d.ID(), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	}
	if _, _, err := deploy(t, s, nil); err == nil || !strings.Contains(err.Error(), "which may go on") {
		t.Errorf("got %v", err)
	}
}

func TestFollowEndsWhenTheAppIsGone(t *testing.T) {
	s := apitest.New(t)
	s.Script = func(d *apitest.Deployment) {
		s.Override("GET /v1/apps/gateway/deployments/"+d.ID(), func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			_, _ = w.Write([]byte(`{"resource":"app","error":"gone"}`))
		})
	}
	if _, _, err := deploy(t, s, nil); client.StatusOf(err) != 404 {
		t.Errorf("got %v", err)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	s := apitest.New(t)
	s.Script = func(d *apitest.Deployment) { d.AwaitStream(); d.Log("one\n") }
	s.AddApp("gateway")
	c := newClient(t, s)
	ctx, cancel := context.WithCancel(within(t))
	app, err := c.App(ctx, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.CreateDeployment(ctx, "gateway", client.Source{}, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.FollowDeployment(ctx, app.Links.DeploymentsStream, "gateway", d.ID, client.Follower{
		Log: func(string) { cancel() }, Status: func(string) {}, Notice: func(string) {},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSecondDeploymentIsAConflict(t *testing.T) {
	s := apitest.New(t)
	s.Script = func(*apitest.Deployment) {}
	s.AddApp("gateway")
	c, ctx := newClient(t, s), within(t)
	if _, err := c.CreateDeployment(ctx, "gateway", client.Source{}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateDeployment(ctx, "gateway", client.Source{}, ""); client.StatusOf(err) != 409 {
		t.Errorf("got %v", err)
	}
}

func TestLogs(t *testing.T) {
	s := apitest.New(t)
	s.AddApp("gateway")
	c, ctx := newClient(t, s), within(t)
	if text, err := c.Logs(ctx, "gateway", client.LogQuery{Lines: 20}); err != nil || text != "" {
		t.Errorf("no logs yet: %q, %v", text, err)
	}
	s.LogLine("gateway", "web-1", 1, "hello")
	s.LogLine("gateway", "worker-1", 2, "work")
	text, err := c.Logs(ctx, "gateway", client.LogQuery{Lines: 20, Filter: "worker|other"})
	if err != nil || text != "2026-11-23 12:00:00.000000002 +0000 UTC [worker-1] work\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// followed is a running FollowLogs.
type followed struct {
	t     *testing.T
	lines chan string
	ended chan error
	stop  context.CancelFunc
}

func followLogs(t *testing.T, s *apitest.Server, q client.LogQuery) *followed {
	ctx, cancel := context.WithCancel(within(t))
	f := &followed{t: t, lines: make(chan string, 100), ended: make(chan error, 1), stop: cancel}
	c := newClient(t, s)
	go func() {
		f.ended <- c.FollowLogs(ctx, "gateway", q, client.Follower{
			Log: func(text string) { f.lines <- text }, Notice: func(string) {},
		})
	}()
	return f
}

func (f *followed) want(text string) {
	f.t.Helper()
	select {
	case line := <-f.lines:
		if !strings.HasSuffix(line, text+"\n") {
			f.t.Errorf("got %q, want %q", line, text)
		}
	case err := <-f.ended:
		f.t.Fatalf("ended with %v while waiting for %q", err, text)
	case <-time.After(10 * time.Second):
		f.t.Fatalf("nothing came while waiting for %q", text)
	}
}

func (f *followed) end() {
	f.t.Helper()
	f.stop()
	if err := <-f.ended; !errors.Is(err, context.Canceled) {
		f.t.Errorf("ended with %v", err)
	}
	if len(f.lines) > 0 {
		f.t.Errorf("%d lines too many, the first is %q", len(f.lines), <-f.lines)
	}
}

func TestFollowLogsAcrossADrop(t *testing.T) {
	s := apitest.New(t)
	s.AddApp("gateway")
	s.LogLine("gateway", "web-1", 0, "too old")
	s.LogLine("gateway", "web-1", 1, "before")
	f := followLogs(t, s, client.LogQuery{Lines: 1})
	f.want("before")
	s.AwaitLogStream("gateway")
	s.LogLine("gateway", "web-1", 2, "live")
	f.want("live")
	s.DropStreams()
	s.LogUnseen("gateway", "web-1", 3, "missed")
	f.want("missed")
	s.AwaitLogStream("gateway")
	s.LogLine("gateway", "web-1", 4, "live again")
	f.want("live again")
	f.end()
}

func TestFollowLogsFindsWhatFellBetweenDumpAndStream(t *testing.T) {
	for name, q := range map[string]client.LogQuery{"with lines": {Lines: 1}, "without lines": {}} {
		t.Run(name, func(t *testing.T) {
			s := apitest.New(t)
			s.AddApp("gateway")
			s.LogLine("gateway", "web-1", 0, "too old")
			s.LogLine("gateway", "web-1", 1, "before")
			var once sync.Once
			s.AfterDump = func() { once.Do(func() { s.LogUnseen("gateway", "web-1", 2, "between") }) }
			f := followLogs(t, s, q)
			if q.Lines > 0 {
				f.want("before")
			}
			f.want("between")
			f.end()
		})
	}
}
