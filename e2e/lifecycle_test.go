package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLife takes one app through its life, from a crash to its end.
func TestLife(t *testing.T) {
	t.Parallel()
	m := use(t)
	project := m.project(t, "life")
	l := &life{app: m.app(t, project, "life-service"), neighbour: m.app(t, project, "life-neighbour")}
	l.neighbour.deploy(t, probe(t, "1", types{"web": ""}))
	l.deploy(t, probe(t, "1", types{"web": "", "api": "--private"}))
	l.must(t, "scale", "api:3")
	l.client = l.neighbour.container(t, "web-1")
	t.Run("crash", l.crash)
	t.Run("variables", l.variables)
	t.Run("follow the logs", l.followLogs)
	t.Run("scale down", l.scaleDown)
	t.Run("rename", l.rename)
	t.Run("destroy", l.destroy)
}

type life struct {
	app
	neighbour app
	client    container // of the neighbour
}

// crash: a process that ends by itself is started again, as the same
// container with the same address.
func (l *life) crash(t *testing.T) {
	before := l.container(t, "api-2")
	if out, err := l.client.fetch(t, private("2.api.life-service.internal")+"crash"); err == nil {
		t.Fatalf("the container answers instead of crashing: %s", out)
	}
	await(t, 30*time.Second, "api-2 to run again", func() error {
		list := l.ps(t)
		i := slices.IndexFunc(list, func(c container) bool { return c.Label == "api-2" })
		if i < 0 || list[i].Atoll.Restarts != 1 || !list[i].Atoll.InService {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
	after := l.container(t, "api-2")
	if after.ID != before.ID || after.Atoll.PrivateIP != before.Atoll.PrivateIP {
		t.Errorf("api-2 is %s at %s, was %s at %s", after.ID, after.Atoll.PrivateIP, before.ID, before.Atoll.PrivateIP)
	}
	l.client.wantAnswer(t, "2.api.life-service.internal.", "A", "NOERROR", "5 A "+before.Atoll.PrivateIP)
	var answer probed
	l.client.mustFetch(t, &answer, private("2.api.life-service.internal"))
	for _, c := range l.ps(t) {
		if c.Label != "api-2" && c.Atoll.Restarts != 0 {
			t.Errorf("%s was restarted too: %+v", c.Label, c)
		}
	}
}

func (l *life) variables(t *testing.T) {
	l.must(t, "env", "set", "VALUE=first line\nsecond line", "ALIAS=$VALUE")
	if got := l.must(t, "env", "get", "ALIAS"); got != "first line\nsecond line\n" {
		t.Errorf("an alias has the value %q", got)
	}
	if got := l.probe(t).Value; got != "" {
		t.Errorf("a container that ran before has the value %q", got)
	}
	l.must(t, "restart", "web")
	if got := l.probe(t).Value; got != "first line\nsecond line" {
		t.Errorf("a new container has the value %q", got)
	}
	if env := l.container(t, "web-1").environment(t); env["ALIAS"] != env["VALUE"] {
		t.Errorf("the alias is %q, its aim %q", env["ALIAS"], env["VALUE"])
	}
	l.must(t, "env", "unset", "VALUE", "ALIAS")
	if got := l.must(t, "env"); got != "" {
		t.Errorf("variables are left: %s", got)
	}
}

func (l *life) followLogs(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := l.command(ctx, "logs", "-f", "-n", "0", "-F", "web", "-a", l.name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	// A line that is written before the stream is open does not count as new:
	// the first one is repeated until it comes.
	for n, seen := 0, ""; !strings.HasSuffix(seen, "] new-line"); n++ {
		l.get(t, 200, l.url("/say?text=new-line"))
		select {
		case line, ok := <-lines:
			if seen = line; !ok {
				t.Fatal("the stream ended")
			}
		case <-time.After(200 * time.Millisecond):
		}
	}
	l.get(t, 200, l.url("/say?text=last-line"))
	for line := range lines {
		if strings.Contains(line, "[api-") {
			t.Errorf("a line of another type passed the filter: %s", line)
		}
		if strings.HasSuffix(line, "[web-1] last-line") {
			break
		}
	}
	if ctx.Err() != nil {
		t.Fatal("the last line did not come within a minute")
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for range lines { // until its end
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("it ended with %v, want exit code %d", err, exitInterrupted)
	}
}

// scaleDown: the highest numbers go, the others stay as they are.
func (l *life) scaleDown(t *testing.T) {
	stays, goes := l.container(t, "api-1"), []container{l.container(t, "api-2"), l.container(t, "api-3")}
	l.must(t, "scale", "api:1")
	for _, c := range goes {
		awaitGone(t, c)
		l.client.wantAnswer(t, c.Label[len("api-"):]+".api.life-service.internal.", "A", "NXDOMAIN")
	}
	l.client.wantAnswer(t, "api.life-service.internal.", "A", "NOERROR", "5 A "+stays.Atoll.PrivateIP)
	if c := l.container(t, "api-1"); c.ID != stays.ID {
		t.Errorf("api-1 was replaced: %s, was %s", c.ID, stays.ID)
	}
}

// rename: the public name and the short private names follow, the long ones
// stay, and nothing is restarted.
func (l *life) rename(t *testing.T) {
	api := l.container(t, "api-1")
	long := l.longName(t, "api.life-service.internal.")
	before := l.ps(t)
	l.must(t, "rename", "life-renamed")
	old := l.url("/")
	l.name = "life-renamed"

	l.get(t, 404, old)
	l.get(t, 200, l.url("/"))
	l.client.wantAnswer(t, "api.life-service.internal.", "A", "NXDOMAIN")
	l.client.wantAnswer(t, "api.life-renamed.internal.", "A", "NOERROR", "5 A "+api.Atoll.PrivateIP)
	l.client.wantAnswer(t, long, "A", "NOERROR", "5 A "+api.Atoll.PrivateIP)
	if got := l.longName(t, "api.life-renamed.internal."); got != long {
		t.Errorf("the long name is %s now, was %s", got, long)
	}
	if after := l.ps(t); len(after) != len(before) || after[0].ID != before[0].ID || after[1].ID != before[1].ID {
		t.Errorf("the containers are %+v, were %+v", after, before)
	}
	// The old name is free.
	l.machine.app(t, "life", "life-service")
}

func (l *life) destroy(t *testing.T) {
	containers := l.ps(t)
	wantRefusal(t, l.machine.atoll(t, "destroy", l.name), exitUsage, "add --yes")
	l.machine.must(t, "destroy", l.name, "--yes")
	wantRefusal(t, l.atoll(t, "ps"), exitNotFound, "atoll apps")
	l.get(t, 404, l.url("/"))
	l.client.wantAnswer(t, "api.life-renamed.internal.", "A", "NXDOMAIN")
	for _, c := range containers {
		awaitGone(t, c)
	}
	l.machine.app(t, "life", l.name)
	if list := l.ps(t); len(list) != 0 {
		t.Errorf("a new app of the old name has the containers %+v", list)
	}
	if got := l.must(t, "logs"); got != "" {
		t.Errorf("a new app of the old name has the logs %s", got)
	}
}

// TestStop looks at how processes are asked to stop, and made to.
func TestStop(t *testing.T) {
	t.Parallel()
	m := use(t)
	a := m.app(t, m.project(t, "stop"), "stop-service")
	a.deploy(t, probe(t, "1", types{"web": "", "polite": "", "stubborn": "--stubborn"}))
	a.must(t, "scale", "polite:1", "stubborn:1")
	web, polite, stubborn := a.container(t, "web-1"), a.container(t, "polite-1"), a.container(t, "stubborn-1")

	a.must(t, "scale", "polite:0", "stubborn:0", "--no-wait")
	// Out of the names first, then asked to stop.
	await(t, 5*time.Second, "the name to be empty", func() error {
		if got := web.dig(t, "polite.stop-service.internal.", "A"); got.status != "NOERROR" || len(got.records) > 0 {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
	if logs := a.must(t, "logs", "-n", "100"); strings.Contains(logs, "got SIGTERM") {
		t.Errorf("a process was asked to stop before it was out of the names:\n%s", logs)
	}
	if _, err := web.fetch(t, private(polite.Atoll.PrivateIP)); err != nil {
		t.Errorf("a container that drains does not answer any more: %v", err)
	}
	awaitGone(t, polite)
	if logs := a.must(t, "logs", "-n", "100", "-F", "polite"); !strings.HasSuffix(strings.TrimSpace(logs), "] bye") || !strings.Contains(logs, "got SIGTERM") {
		t.Errorf("the polite process was not let end by itself:\n%s", logs)
	}
	awaitGone(t, stubborn)
	logs := a.must(t, "logs", "-n", "100", "-F", "stubborn")
	if n := strings.Count(logs, "still here"); strings.Count(logs, "got SIGTERM") != 1 || n < 10 {
		t.Errorf("the stubborn process got no time to stop (%d lines after SIGTERM):\n%s", n, logs)
	}
	if c := a.container(t, "web-1"); c.ID != web.ID || c.Atoll.Restarts != 0 {
		t.Errorf("web-1 is %+v, was %+v", c, web)
	}
}

// TestProjectsAreApart runs the same app in two projects, with the same
// private addresses.
func TestProjectsAreApart(t *testing.T) {
	t.Parallel()
	m := use(t)
	var apps []app
	for _, name := range []string{"apart-left", "apart-right"} {
		a := m.app(t, m.project(t, name), name)
		a.must(t, "scale", "web:0")
		a.deploy(t, probe(t, "1", types{"api": ""}))
		a.must(t, "scale", "api:2")
		apps = append(apps, a)
	}
	left, right := apps[0], apps[1]
	common := slices.DeleteFunc(left.addresses(t), func(addr string) bool { return !slices.Contains(right.addresses(t), addr) })
	if len(common) != 2 {
		t.Fatalf("the projects have the addresses %q and %q, want the same", left.addresses(t), right.addresses(t))
	}
	for i, a := range apps {
		other := apps[1-i]
		c := a.container(t, "api-1")
		for _, addr := range common {
			var answer probed
			if c.mustFetch(t, &answer, private(addr)); answer.App != a.name {
				t.Errorf("in %s, %s is a container of %s", a.name, addr, answer.App)
			}
		}
		// An address that only the other project has.
		other.must(t, "scale", "api:3")
		third := other.container(t, "api-3")
		c.wantRefused(t, private(third.Atoll.PrivateIP))
		outside, _ := third.address(t, "eth0")
		c.wantRefused(t, private(outside))
		if out, err := c.run(t, "ping", "-c", "1", "-W", "1", third.Atoll.PrivateIP); err == nil {
			t.Errorf("%s reaches the other project: %s", c.Label, out)
		}
		for _, name := range []string{"api." + other.name + ".internal.", other.longName(t, "3.api."+other.name+".internal.")} {
			c.wantAnswer(t, name, "A", "NXDOMAIN")
		}
		other.must(t, "scale", "api:2")
		awaitGone(t, third)
	}
}

func (a app) addresses(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, c := range a.ps(t) {
		all = append(all, c.Atoll.PrivateIP)
	}
	return all
}
