package chaos

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// TestDrain keeps a private service of three containers under load while
// everything is done to it that must cost a well-behaved client nothing; then
// it breaks one container.
func TestDrain(t *testing.T) {
	d := newDrain(t)
	d.phase(t, "nothing happens", func(t *testing.T) {
		time.Sleep(5 * time.Second) // the load that all phases are compared with
	})
	d.phase(t, "10 restarts", func(t *testing.T) {
		for i := range 10 {
			args := []string{"restart", "api"}
			if i%3 == 2 {
				args[1] = "api-2" // one of them alone
			}
			d.server.Must(t, args...)
		}
	})
	d.phase(t, "5 scale changes", func(t *testing.T) {
		for _, n := range []int{5, 2, 4, 1, 3} {
			d.server.Must(t, "scale", fmt.Sprintf("api:%d", n))
		}
	})
	d.phase(t, "5 deployments", func(t *testing.T) {
		for i := range 5 {
			d.deploy(t, fmt.Sprint("again ", i))
		}
	})
	d.phase(t, "kills of the server", d.killServer)
	t.Run("crash of a container", d.crash)
	d.phase(t, "scale changes after a crash", func(t *testing.T) {
		for _, n := range []int{4, 3} {
			d.server.Must(t, "scale", fmt.Sprintf("api:%d", n))
		}
	})
	t.Run("twin: SIGTERM without drain", d.twin)
	d.phase(t, "deployment and restart of a slow one", d.slowBoot)
}

// drain is a service under load.
type drain struct {
	server rig.App
	load   load
	member string
}

func newDrain(t *testing.T) *drain {
	m := rig.Use(t)
	project := m.Project(t, "drain")
	d := &drain{server: m.App(t, project, "drain-server"), member: program(t, "member")}
	d.server.Must(t, "scale", "web:0")
	d.deploy(t, "first")
	d.server.Must(t, "scale", "api:3:S")

	// Two clients: one asks for the name every second, the other uses each
	// answer for as long as it may.
	client := m.App(t, project, "drain-client")
	client.Must(t, "scale", "web:0")
	client.Deploy(t, rig.Folder(t, map[string]string{"member": d.member, "Procfile": fmt.Sprintf(`eager: exec ./member load api.drain-server.internal %d 1s
lazy: exec ./member load api.drain-server.internal %d 5s
`, rates["eager"], rates["lazy"])}))
	client.Must(t, "scale", "eager:1:S", "lazy:1:S")
	d.load = load{client.Container(t, "eager-1"), client.Container(t, "lazy-1")}
	return d
}

func (d *drain) deploy(t *testing.T, version string) {
	t.Helper()
	d.deployAs(t, version, "exec ./member serve")
}

func (d *drain) deployAs(t *testing.T, version, command string) {
	t.Helper()
	d.server.Deploy(t, rig.Folder(t, map[string]string{"Procfile": "api: " + command + "\n", "member": d.member, "VERSION": version}))
}

// phase does something that no request may fail for. It lasts until nothing is
// left of the containers that were replaced.
func (d *drain) phase(t *testing.T, name string, do func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		d.settle(t)
		d.load.begin(t, name)
		do(t)
		d.settle(t)
		all := d.load.begin(t, "between phases")
		report(t, all)
		for _, f := range all {
			f.wantNone(t)
		}
	})
}

// settle waits until there are three containers, all in service.
func (d *drain) settle(t *testing.T) {
	t.Helper()
	rig.Await(t, time.Minute, "three containers to be in service alone", func() error {
		list := d.server.Ps(t)
		if len(list) != 3 || slices.ContainsFunc(list, func(c rig.Container) bool { return !c.Atoll.InService }) {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
}

// killServer kills the server while nothing happens, while new containers
// start, and while old ones drain.
func (d *drain) killServer(t *testing.T) {
	again := func() {
		if err := d.server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := d.server.Start(); err != nil {
			t.Fatal(err)
		}
		d.settle(t)
	}
	again()

	d.server.Must(t, "restart", "--no-wait")
	rig.Await(t, 30*time.Second, "new containers", func() error {
		if list := d.server.Ps(t); len(list) <= 3 {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
	again()

	d.server.Must(t, "restart")
	if list := d.server.Ps(t); !slices.ContainsFunc(list, func(c rig.Container) bool { return !c.Atoll.InService }) {
		t.Errorf("no container drains: %+v", list)
	}
	again()
}

// slowBoot replaces the containers by ones that boot for longer than a worker
// takes to settle (platform.SettleTime), twice.
func (d *drain) slowBoot(t *testing.T) {
	d.deployAs(t, "slow", "sleep 15; exec ./member serve")
	d.server.Must(t, "restart")
}

// crash kills a container's process. That may only cost connections to it, by
// clients that could not know: their answer is older than the change.
func (d *drain) crash(t *testing.T) {
	d.settle(t)
	victim := d.server.Container(t, "api-2")
	d.load.begin(t, "crash of a container")
	killed := time.Now()
	if err := syscall.Kill(victim.First(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.awaitRestart(t, victim)
	time.Sleep(6 * time.Second) // until every client has asked again
	all := d.load.begin(t, "between phases")

	failed, sent, lasted := 0, 0, time.Duration(0)
	gone, seen := all[0].gone(killed, victim.Atoll.PrivateIP)
	if !seen {
		t.Errorf("the name never lost %s, which crashed: %+v", victim.Atoll.PrivateIP, all[0].Names)
	}
	for _, f := range all {
		failed, sent = failed+len(f.Failures), sent+f.Sent
		for _, x := range f.Failures {
			lasted = max(lasted, x.At.Sub(killed))
			if x.Target != victim.Atoll.PrivateIP {
				t.Errorf("a request of %s to %q failed, but %s crashed: %s", f.Client, x.Target, victim.Atoll.PrivateIP, x.Error)
			}
			if x.ResolvedAt.After(gone) {
				t.Errorf("a request of %s failed by an answer of %v, but the name changed at %v", f.Client, f.since(x.ResolvedAt), f.since(gone))
			}
		}
		if t.Failed() {
			t.Logf("what happened to %s:\n%s", f.Client, f.explain())
		}
	}
	rig.Report(t, "drain: crash of a container", "%d of %d requests failed, all to that container, within %d ms; out of the name after %d ms",
		failed, sent, lasted.Milliseconds(), gone.Sub(killed).Milliseconds())
}

// awaitRestart waits until a container that ended is in service again.
func (d *drain) awaitRestart(t *testing.T, before rig.Container) {
	t.Helper()
	rig.Await(t, 30*time.Second, before.Label+" to run again", func() error {
		list := d.server.Ps(t)
		if !slices.ContainsFunc(list, func(c rig.Container) bool {
			return c.ID == before.ID && c.Atoll.Restarts > before.Atoll.Restarts && c.Atoll.InService
		}) {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
}

// gone is when the name was first seen without an address.
func (f figures) gone(since time.Time, addr string) (at time.Time, seen bool) {
	for _, s := range f.Names {
		if s.At.After(since) && !slices.Contains(s.Addrs, netip.MustParseAddr(addr)) {
			return s.Until, true
		}
	}
	return f.Ended, false
}

// twin shows that the load notices a container that stops without a drain.
func (d *drain) twin(t *testing.T) {
	d.settle(t)
	victim := d.server.Container(t, "api-1")
	d.load.begin(t, "twin: SIGTERM without drain")
	if err := syscall.Kill(victim.First(t), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.awaitRestart(t, victim)
	all := d.load.begin(t, "between phases")
	report(t, all)
	failed := 0
	for _, f := range all {
		failed += len(f.Failures)
	}
	// Of both: the one that sends less may just have turned to the others.
	if failed == 0 {
		t.Error("no request failed although a container stopped without a drain: the test notices nothing")
	}
}
