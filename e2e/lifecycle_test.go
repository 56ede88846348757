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

	"github.com/atollhq/atoll/e2e/rig"
)

// TestLife takes one app through its life, from a crash to its end.
func TestLife(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	project := m.Project(t, "life")
	l := &life{App: m.App(t, project, "life-service"), neighbour: m.App(t, project, "life-neighbour")}
	l.neighbour.Deploy(t, rig.Probe(t, "1", rig.Types{"web": ""}))
	l.Deploy(t, rig.Probe(t, "1", rig.Types{"web": "", "api": "--private"}))
	l.Must(t, "scale", "api:3")
	l.client = l.neighbour.Container(t, "web-1")
	t.Run("crash", l.crash)
	t.Run("variables", l.variables)
	t.Run("follow the logs", l.followLogs)
	t.Run("scale down", l.scaleDown)
	t.Run("rename", l.rename)
	t.Run("destroy", l.destroy)
}

type life struct {
	rig.App
	neighbour rig.App
	client    rig.Container // of the neighbour
}

// crash: a process that ends by itself is started again, as the same
// container with the same address.
func (l *life) crash(t *testing.T) {
	before := l.Container(t, "api-2")
	if out, err := l.client.Fetch(t, rig.Private("2.api.life-service.internal")+"crash"); err == nil {
		t.Fatalf("the container answers instead of crashing: %s", out)
	}
	rig.Await(t, 30*time.Second, "api-2 to run again", func() error {
		list := l.Ps(t)
		i := slices.IndexFunc(list, func(c rig.Container) bool { return c.Label == "api-2" })
		if i < 0 || list[i].Atoll.Restarts != 1 || !list[i].Atoll.InService {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
	after := l.Container(t, "api-2")
	if after.ID != before.ID || after.Atoll.PrivateIP != before.Atoll.PrivateIP {
		t.Errorf("api-2 is %s at %s, was %s at %s", after.ID, after.Atoll.PrivateIP, before.ID, before.Atoll.PrivateIP)
	}
	l.client.WantAnswer(t, "2.api.life-service.internal.", "A", "NOERROR", "5 A "+before.Atoll.PrivateIP)
	var answer rig.Probed
	l.client.MustFetch(t, &answer, rig.Private("2.api.life-service.internal"))
	for _, c := range l.Ps(t) {
		if c.Label != "api-2" && c.Atoll.Restarts != 0 {
			t.Errorf("%s was restarted too: %+v", c.Label, c)
		}
	}
}

func (l *life) variables(t *testing.T) {
	l.Must(t, "env", "set", "VALUE=first line\nsecond line", "ALIAS=$VALUE")
	if got := l.Must(t, "env", "get", "ALIAS"); got != "first line\nsecond line\n" {
		t.Errorf("an alias has the value %q", got)
	}
	if got := l.Probe(t).Value; got != "" {
		t.Errorf("a container that ran before has the value %q", got)
	}
	l.Must(t, "restart", "web")
	if got := l.Probe(t).Value; got != "first line\nsecond line" {
		t.Errorf("a new container has the value %q", got)
	}
	if env := l.Container(t, "web-1").Environment(t); env["ALIAS"] != env["VALUE"] {
		t.Errorf("the alias is %q, its aim %q", env["ALIAS"], env["VALUE"])
	}
	l.Must(t, "env", "unset", "VALUE", "ALIAS")
	if got := l.Must(t, "env"); got != "" {
		t.Errorf("variables are left: %s", got)
	}
}

func (l *life) followLogs(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := l.Command(ctx, "logs", "-f", "-n", "0", "-F", "web", "-a", l.Name)
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
		l.Get(t, 200, l.URL("/say?text=new-line"))
		select {
		case line, ok := <-lines:
			if seen = line; !ok {
				t.Fatal("the stream ended")
			}
		case <-time.After(200 * time.Millisecond):
		}
	}
	l.Get(t, 200, l.URL("/say?text=last-line"))
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
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != rig.ExitInterrupted {
		t.Errorf("it ended with %v, want exit code %d", err, rig.ExitInterrupted)
	}
}

// scaleDown: the highest numbers go, the others stay as they are.
func (l *life) scaleDown(t *testing.T) {
	stays, goes := l.Container(t, "api-1"), []rig.Container{l.Container(t, "api-2"), l.Container(t, "api-3")}
	l.Must(t, "scale", "api:1")
	for _, c := range goes {
		rig.AwaitGone(t, c)
		l.client.WantAnswer(t, c.Label[len("api-"):]+".api.life-service.internal.", "A", "NXDOMAIN")
	}
	l.client.WantAnswer(t, "api.life-service.internal.", "A", "NOERROR", "5 A "+stays.Atoll.PrivateIP)
	if c := l.Container(t, "api-1"); c.ID != stays.ID {
		t.Errorf("api-1 was replaced: %s, was %s", c.ID, stays.ID)
	}
}

// rename: the public name and the short private names follow, the long ones
// stay, and nothing is restarted.
func (l *life) rename(t *testing.T) {
	api := l.Container(t, "api-1")
	long := l.LongName(t, "api.life-service.internal.")
	before := l.Ps(t)
	l.Must(t, "rename", "life-renamed")
	old := l.URL("/")
	l.Name = "life-renamed"

	l.Get(t, 404, old)
	l.Get(t, 200, l.URL("/"))
	l.client.WantAnswer(t, "api.life-service.internal.", "A", "NXDOMAIN")
	l.client.WantAnswer(t, "api.life-renamed.internal.", "A", "NOERROR", "5 A "+api.Atoll.PrivateIP)
	l.client.WantAnswer(t, long, "A", "NOERROR", "5 A "+api.Atoll.PrivateIP)
	if got := l.LongName(t, "api.life-renamed.internal."); got != long {
		t.Errorf("the long name is %s now, was %s", got, long)
	}
	if after := l.Ps(t); len(after) != len(before) || after[0].ID != before[0].ID || after[1].ID != before[1].ID {
		t.Errorf("the containers are %+v, were %+v", after, before)
	}
	// The old name is free.
	l.Machine.App(t, "life", "life-service")
}

func (l *life) destroy(t *testing.T) {
	containers := l.Ps(t)
	wantRefusal(t, l.Machine.Atoll(t, "destroy", l.Name), rig.ExitUsage, "add --yes")
	l.Machine.Must(t, "destroy", l.Name, "--yes")
	wantRefusal(t, l.Atoll(t, "ps"), rig.ExitNotFound, "atoll apps")
	l.Get(t, 404, l.URL("/"))
	l.client.WantAnswer(t, "api.life-renamed.internal.", "A", "NXDOMAIN")
	for _, c := range containers {
		rig.AwaitGone(t, c)
	}
	l.Machine.App(t, "life", l.Name)
	if list := l.Ps(t); len(list) != 0 {
		t.Errorf("a new app of the old name has the containers %+v", list)
	}
	if got := l.Must(t, "logs"); got != "" {
		t.Errorf("a new app of the old name has the logs %s", got)
	}
}

// TestStop looks at how processes are asked to stop, and made to.
func TestStop(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	a := m.App(t, m.Project(t, "stop"), "stop-service")
	a.Deploy(t, rig.Probe(t, "1", rig.Types{"web": "", "polite": "", "stubborn": "--stubborn"}))
	a.Must(t, "scale", "polite:1", "stubborn:1")
	web, polite, stubborn := a.Container(t, "web-1"), a.Container(t, "polite-1"), a.Container(t, "stubborn-1")

	a.Must(t, "scale", "polite:0", "stubborn:0", "--no-wait")
	// Out of the names first, then asked to stop.
	rig.Await(t, 5*time.Second, "the name to be empty", func() error {
		if got := web.Dig(t, "polite.stop-service.internal.", "A"); got.Status != "NOERROR" || len(got.Records) > 0 {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
	if logs := a.Must(t, "logs", "-n", "100"); strings.Contains(logs, "got SIGTERM") {
		t.Errorf("a process was asked to stop before it was out of the names:\n%s", logs)
	}
	if _, err := web.Fetch(t, rig.Private(polite.Atoll.PrivateIP)); err != nil {
		t.Errorf("a container that drains does not answer any more: %v", err)
	}
	rig.AwaitGone(t, polite)
	if logs := a.Must(t, "logs", "-n", "100", "-F", "polite"); !strings.HasSuffix(strings.TrimSpace(logs), "] bye") || !strings.Contains(logs, "got SIGTERM") {
		t.Errorf("the polite process was not let end by itself:\n%s", logs)
	}
	rig.AwaitGone(t, stubborn)
	logs := a.Must(t, "logs", "-n", "100", "-F", "stubborn")
	if n := strings.Count(logs, "still here"); strings.Count(logs, "got SIGTERM") != 1 || n < 10 {
		t.Errorf("the stubborn process got no time to stop (%d lines after SIGTERM):\n%s", n, logs)
	}
	if c := a.Container(t, "web-1"); c.ID != web.ID || c.Atoll.Restarts != 0 {
		t.Errorf("web-1 is %+v, was %+v", c, web)
	}
}

// TestProjectsAreApart runs the same app in two projects, with the same
// private addresses.
func TestProjectsAreApart(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	var apps []rig.App
	for _, name := range []string{"apart-left", "apart-right"} {
		a := m.App(t, m.Project(t, name), name)
		a.Must(t, "scale", "web:0")
		a.Deploy(t, rig.Probe(t, "1", rig.Types{"api": ""}))
		a.Must(t, "scale", "api:2")
		apps = append(apps, a)
	}
	left, right := apps[0], apps[1]
	common := slices.DeleteFunc(addresses(left, t), func(addr string) bool { return !slices.Contains(addresses(right, t), addr) })
	if len(common) != 2 {
		t.Fatalf("the projects have the addresses %q and %q, want the same", addresses(left, t), addresses(right, t))
	}
	for i, a := range apps {
		other := apps[1-i]
		c := a.Container(t, "api-1")
		for _, addr := range common {
			var answer rig.Probed
			if c.MustFetch(t, &answer, rig.Private(addr)); answer.App != a.Name {
				t.Errorf("in %s, %s is a container of %s", a.Name, addr, answer.App)
			}
		}
		// An address that only the other project has.
		other.Must(t, "scale", "api:3")
		third := other.Container(t, "api-3")
		c.WantRefused(t, rig.Private(third.Atoll.PrivateIP))
		outside, _ := third.Address(t, "eth0")
		c.WantRefused(t, rig.Private(outside))
		if out, err := c.Run(t, "ping", "-c", "1", "-W", "1", third.Atoll.PrivateIP); err == nil {
			t.Errorf("%s reaches the other project: %s", c.Label, out)
		}
		for _, name := range []string{"api." + other.Name + ".internal.", other.LongName(t, "3.api."+other.Name+".internal.")} {
			c.WantAnswer(t, name, "A", "NXDOMAIN")
		}
		other.Must(t, "scale", "api:2")
		rig.AwaitGone(t, third)
	}
}

func addresses(a rig.App, t testing.TB) []string {
	t.Helper()
	var all []string
	for _, c := range a.Ps(t) {
		all = append(all, c.Atoll.PrivateIP)
	}
	return all
}
