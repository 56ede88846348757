package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The tests of this file kill the server. They are not parallel, so nothing
// else runs meanwhile.

// TestServerKilled kills the server while apps run, looks at them while there
// is none, and starts it again.
func TestServerKilled(t *testing.T) {
	m := use(t)
	project := m.project(t, "survival")
	caller, callee, doomed := m.app(t, project, "survival-caller"), m.app(t, project, "survival-callee"), m.app(t, project, "survival-doomed")
	caller.deploy(t, probe(t, "1", types{"web": ""}))
	callee.must(t, "scale", "web:0")
	callee.deploy(t, probe(t, "1", types{"api": "--private --tick"}))
	callee.must(t, "scale", "api:2")
	doomed.must(t, "scale", "web:0")
	doomed.deploy(t, probe(t, "1", types{"api": "--private"}))
	doomed.must(t, "scale", "api:1")

	web, api := caller.container(t, "web-1"), callee.container(t, "api-1")
	victim := doomed.container(t, "api-1")
	before := []standing{caller.standing(t), callee.standing(t)}
	names := web.dig(t, "api.survival-callee.internal.", "A")

	if err := m.kill(); err != nil {
		t.Fatal(err)
	}
	// The private network goes on, and so do the containers.
	var first, now probed
	web.mustFetch(t, &first, private(api.Atoll.PrivateIP))
	await(t, 20*time.Second, "the callee to write 60 lines", func() error {
		web.mustFetch(t, &now, private(api.Atoll.PrivateIP))
		if now.Ticks < first.Ticks+60 {
			return fmt.Errorf("it wrote %d", now.Ticks-first.Ticks)
		}
		return nil
	})
	if err := syscall.Kill(victim.first(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, victim)
	if err := m.start(); err != nil {
		t.Fatal(err)
	}

	t.Run("containers", func(t *testing.T) {
		if diff := cmp.Diff(before, []standing{caller.standing(t), callee.standing(t)}); diff != "" {
			t.Errorf("not as before (-before +after):\n%s", diff)
		}
	})
	t.Run("the dead one", func(t *testing.T) {
		await(t, 30*time.Second, "the container that died meanwhile to run again", func() error {
			list := doomed.ps(t)
			if len(list) == 1 && list[0].Atoll.InService && list[0].Atoll.Restarts == 1 {
				return nil
			}
			return fmt.Errorf("there is %+v", list)
		})
		if c := doomed.container(t, "api-1"); c.ID != victim.ID || c.Atoll.PrivateIP != victim.Atoll.PrivateIP {
			t.Errorf("it is %+v now, was %+v", c, victim)
		}
		var answer probed
		web.mustFetch(t, &answer, private("api.survival-doomed.internal"))
	})
	t.Run("names", func(t *testing.T) {
		web.wantAnswer(t, "api.survival-callee.internal.", "A", names.status, names.records...)
		var answer probed
		web.mustFetch(t, &answer, private("1.api.survival-callee.internal"))
		if answer.App != "survival-callee" || answer.Container != "api-1" || answer.Ticks < now.Ticks {
			t.Errorf("the name leads to %+v", answer)
		}
	})
	t.Run("routes", func(t *testing.T) {
		await(t, 20*time.Second, "the router to answer", func() error {
			p, err := caller.visit(caller.url("/"))
			if err == nil && p.status != 200 {
				err = fmt.Errorf("status %d: %s", p.status, p.body)
			}
			return err
		})
		m.get(t, 503, callee.url("/"))
	})
	t.Run("logs", func(t *testing.T) { wantAllTicks(t, callee, "api-1", now.Ticks) })
	t.Run("egress", func(t *testing.T) {
		if _, err := web.fetch(t, "http://echo.example/"); err != nil {
			t.Error(err)
		}
	})
	t.Run("changes", func(t *testing.T) {
		callee.must(t, "scale", "api:1")
		callee.must(t, "restart")
		caller.deploy(t, probe(t, "2", types{"web": ""}))
		if got := caller.probe(t); got.Version != "2" {
			t.Errorf("version %s serves after a deployment, want 2", got.Version)
		}
	})
}

var tickLine = regexp.MustCompile(`(?m) tick (\d+)$`)

// wantAllTicks checks that a log has every number from 1 to at least last.
func wantAllTicks(t *testing.T, a app, label string, last int) {
	t.Helper()
	found := tickLine.FindAllStringSubmatch(a.must(t, "logs", "-n", "10000", "-F", label), -1)
	if len(found) < last {
		t.Errorf("the log of %s has %d lines, want %d or more", label, len(found), last)
	}
	for i, line := range found {
		if n, err := strconv.Atoi(line[1]); err != nil || n != i+1 {
			t.Fatalf("line %d of the log of %s says %q, want tick %d", i+1, label, line[0], i+1)
		}
	}
}

// TestServerKilledWhileDeploying kills the server in the middle of a build,
// and while new containers start.
func TestServerKilledWhileDeploying(t *testing.T) {
	m := use(t)
	a := m.app(t, m.project(t, "killed"), "killed-deploying")
	dir := probe(t, "1", types{"web": ""})
	a.deploy(t, dir)
	g := newGate(t, a)
	before := a.standing(t)

	again := func(t *testing.T, id string) {
		t.Helper()
		if err := m.kill(); err != nil {
			t.Fatal(err)
		}
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		last := a.deployments(t)[0]
		if last.ID != id || last.Status != "aborted" || !strings.Contains(last.Error, "deploy again") {
			t.Errorf("the newest deployment is %+v, want %s aborted", last, id)
		}
		r := a.atoll(t, "deployments", "follow", id)
		wantRefusal(t, r, exitDeployment, "deploy again")
		awaitGone(t, container{ID: id, Label: "the build container"})
		a.wantUnchanged(t, &before)
		await(t, 20*time.Second, "the router to answer", func() error {
			_, err := a.visit(a.url("/"))
			return err
		})
		if got := a.probe(t); got.Version != "1" {
			t.Errorf("version %s serves, want 1", got.Version)
		}
	}
	t.Run("building", func(t *testing.T) {
		var d deployment
		a.read(t, &d, "deploy", dir, "--no-follow")
		g.await(t)
		again(t, d.ID)
	})
	a.must(t, "env", "unset", "BUILDPACK_URL")
	before.Variables = a.standing(t).Variables
	t.Run("starting", func(t *testing.T) {
		var d deployment
		a.read(t, &d, "deploy", folder(t, map[string]string{"Procfile": "web: sleep 1000\nextra: sleep 1000\n"}), "--no-follow")
		await(t, time.Minute, "the new container to run", func() error {
			if list := a.ps(t); !slices.ContainsFunc(list, func(c container) bool { return c.State == "running" && !c.Atoll.InService }) {
				return fmt.Errorf("there is %+v", list)
			}
			return nil
		})
		again(t, d.ID)
	})
	t.Run("deploy again", func(t *testing.T) {
		a.deploy(t, probe(t, "2", types{"web": ""}))
		if got := a.probe(t); got.Version != "2" {
			t.Errorf("version %s serves, want 2", got.Version)
		}
	})
}
