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

	"github.com/atollhq/atoll/e2e/rig"
)

// The tests of this file kill the server. They are not parallel, so nothing
// else runs meanwhile.

// TestServerKilled kills the server while apps run, looks at them while there
// is none, and starts it again.
func TestServerKilled(t *testing.T) {
	m := rig.Use(t)
	project := m.Project(t, "survival")
	caller, callee, doomed := m.App(t, project, "survival-caller"), m.App(t, project, "survival-callee"), m.App(t, project, "survival-doomed")
	caller.Deploy(t, rig.Probe(t, "1", rig.Types{"web": ""}))
	callee.Must(t, "scale", "web:0")
	callee.Deploy(t, rig.Probe(t, "1", rig.Types{"api": "--private --tick"}))
	callee.Must(t, "scale", "api:2")
	doomed.Must(t, "scale", "web:0")
	doomed.Deploy(t, rig.Probe(t, "1", rig.Types{"api": "--private"}))
	doomed.Must(t, "scale", "api:1")

	web, api := caller.Container(t, "web-1"), callee.Container(t, "api-1")
	victim := doomed.Container(t, "api-1")
	before := []rig.Standing{caller.Standing(t), callee.Standing(t)}
	names := web.Dig(t, "api.survival-callee.internal.", "A")

	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	// The private network goes on, and so do the containers.
	var first, now rig.Probed
	web.MustFetch(t, &first, rig.Private(api.Atoll.PrivateIP))
	rig.Await(t, 20*time.Second, "the callee to write 60 lines", func() error {
		web.MustFetch(t, &now, rig.Private(api.Atoll.PrivateIP))
		if now.Ticks < first.Ticks+60 {
			return fmt.Errorf("it wrote %d", now.Ticks-first.Ticks)
		}
		return nil
	})
	if err := syscall.Kill(victim.First(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	rig.AwaitGone(t, victim)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}

	t.Run("containers", func(t *testing.T) {
		if diff := cmp.Diff(before, []rig.Standing{caller.Standing(t), callee.Standing(t)}); diff != "" {
			t.Errorf("not as before (-before +after):\n%s", diff)
		}
	})
	t.Run("the dead one", func(t *testing.T) {
		rig.Await(t, 30*time.Second, "the container that died meanwhile to run again", func() error {
			list := doomed.Ps(t)
			if len(list) == 1 && list[0].Atoll.InService && list[0].Atoll.Restarts == 1 {
				return nil
			}
			return fmt.Errorf("there is %+v", list)
		})
		if c := doomed.Container(t, "api-1"); c.ID != victim.ID || c.Atoll.PrivateIP != victim.Atoll.PrivateIP {
			t.Errorf("it is %+v now, was %+v", c, victim)
		}
		var answer rig.Probed
		web.MustFetch(t, &answer, rig.Private("api.survival-doomed.internal"))
	})
	t.Run("names", func(t *testing.T) {
		web.WantAnswer(t, "api.survival-callee.internal.", "A", names.Status, names.Records...)
		var answer rig.Probed
		web.MustFetch(t, &answer, rig.Private("1.api.survival-callee.internal"))
		if answer.App != "survival-callee" || answer.Container != "api-1" || answer.Ticks < now.Ticks {
			t.Errorf("the name leads to %+v", answer)
		}
	})
	t.Run("routes", func(t *testing.T) {
		rig.Await(t, 20*time.Second, "the router to answer", func() error {
			p, err := caller.Visit(caller.URL("/"))
			if err == nil && p.Status != 200 {
				err = fmt.Errorf("status %d: %s", p.Status, p.Body)
			}
			return err
		})
		m.Get(t, 503, callee.URL("/"))
	})
	t.Run("logs", func(t *testing.T) { wantAllTicks(t, callee, "api-1", now.Ticks) })
	t.Run("egress", func(t *testing.T) {
		if _, err := web.Fetch(t, "http://echo.example/"); err != nil {
			t.Error(err)
		}
	})
	t.Run("changes", func(t *testing.T) {
		callee.Must(t, "scale", "api:1")
		callee.Must(t, "restart")
		caller.Deploy(t, rig.Probe(t, "2", rig.Types{"web": ""}))
		if got := caller.Probe(t); got.Version != "2" {
			t.Errorf("version %s serves after a deployment, want 2", got.Version)
		}
	})
}

var tickLine = regexp.MustCompile(`(?m) tick (\d+)$`)

// wantAllTicks checks that a log has every number from 1 to at least last.
func wantAllTicks(t *testing.T, a rig.App, label string, last int) {
	t.Helper()
	found := tickLine.FindAllStringSubmatch(a.Must(t, "logs", "-n", "10000", "-F", label), -1)
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
	m := rig.Use(t)
	a := m.App(t, m.Project(t, "killed"), "killed-deploying")
	dir := rig.Probe(t, "1", rig.Types{"web": ""})
	a.Deploy(t, dir)
	g := rig.NewGate(t, a)
	before := a.Standing(t)

	again := func(t *testing.T, id string) {
		t.Helper()
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		last := a.Deployments(t)[0]
		if last.ID != id || last.Status != "aborted" || !strings.Contains(last.Error, "deploy again") {
			t.Errorf("the newest deployment is %+v, want %s aborted", last, id)
		}
		r := a.Atoll(t, "deployments", "follow", id)
		wantRefusal(t, r, rig.ExitDeployment, "deploy again")
		rig.AwaitGone(t, rig.Container{ID: id, Label: "the build container"})
		a.WantUnchanged(t, &before)
		rig.Await(t, 20*time.Second, "the router to answer", func() error {
			_, err := a.Visit(a.URL("/"))
			return err
		})
		if got := a.Probe(t); got.Version != "1" {
			t.Errorf("version %s serves, want 1", got.Version)
		}
	}
	t.Run("building", func(t *testing.T) {
		var d rig.Deployment
		a.Read(t, &d, "deploy", dir, "--no-follow")
		g.Await(t)
		again(t, d.ID)
	})
	a.Must(t, "env", "unset", "BUILDPACK_URL")
	before.Variables = a.Standing(t).Variables
	t.Run("starting", func(t *testing.T) {
		var d rig.Deployment
		a.Read(t, &d, "deploy", rig.Folder(t, map[string]string{"Procfile": "web: sleep 1000\nextra: sleep 1000\n"}), "--no-follow")
		rig.Await(t, time.Minute, "the new container to run", func() error {
			if list := a.Ps(t); !slices.ContainsFunc(list, func(c rig.Container) bool { return c.State == "running" && !c.Atoll.InService }) {
				return fmt.Errorf("there is %+v", list)
			}
			return nil
		})
		again(t, d.ID)
	})
	t.Run("deploy again", func(t *testing.T) {
		a.Deploy(t, rig.Probe(t, "2", rig.Types{"web": ""}))
		if got := a.Probe(t); got.Version != "2" {
			t.Errorf("version %s serves, want 2", got.Version)
		}
	})
}
