package enginetest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
)

func testApply(t *testing.T, f *fixture) {
	w := f.workload("probe wait", 1, 2)
	rows := f.start(t, w)
	for _, i := range rows {
		if i.AppID != w.AppID || i.Type != "api" || i.WorkloadID != w.ID || i.Generation != 1 || !i.Active ||
			i.StartedAt.IsZero() || i.CreatedAt.IsZero() || !i.PrivateAddr.IsValid() || i.NetworkID != w.Network.ID || i.Node == "" {
			t.Errorf("row %+v is not complete", i)
		}
		if got := f.roster.States(i.ID); !slices.Equal(got, []string{"starting", "running"}) {
			t.Errorf("states of %s: %v", i.Label(), got)
		}
	}
	// Applying the same again changes nothing.
	f.apply(t, w)
	w.Numbers = []int{1, 2, 3}
	f.apply(t, w)
	after := f.roster.AwaitNumbers(t, w.ID, 1, 2, 3)
	if after[0].ID != rows[0].ID || after[1].ID != rows[1].ID || after[0].Restarts != 0 {
		t.Errorf("scaling up replaced containers: %+v, before %+v", after, rows)
	}
	// Down to 1 and 3: exactly number 2 goes.
	w.Numbers = []int{1, 3}
	f.apply(t, w)
	down := f.roster.AwaitNumbers(t, w.ID, 1, 3)
	if down[0].ID != after[0].ID || down[1].ID != after[2].ID {
		t.Errorf("scaling down removed the wrong container: %+v, before %+v", down, after)
	}
	ids, err := f.Workloads(context.Background())
	if err != nil || !slices.Equal(ids, []string{w.ID}) {
		t.Errorf("workloads %v, error %v, want %s", ids, err, w.ID)
	}
	// A number that is being stopped can be had again at once.
	w.Numbers = nil
	f.apply(t, w)
	w.Numbers = []int{1}
	f.apply(t, w)
	again := f.roster.Await(t, w.ID, "a new number 1", func(rows []platform.Instance) bool {
		return len(rows) == 1 && rows[0].State == platform.InstanceRunning
	})
	if again[0].ID == rows[0].ID {
		t.Error("a container that was to be stopped was taken up again")
	}
	check(t, f.Remove(context.Background(), "no-such-workload"))
}

func testIdentity(t *testing.T, f *fixture) {
	w := f.workload("probe env; probe cat /etc/hosts /etc/resolv.conf /etc/hostname; probe wait", 7)
	i := f.start(t, w)[0]
	got := texts(f.awaitLog(t, w.AppID, "ready"))
	name := platform.PrivateName{Number: 7, Type: "api", AppID: w.AppID, NetworkID: w.Network.ID}.String()
	for _, want := range []string{"GREETING=hello there", "CONTAINER=api-7", "HOME=/app", "HOSTNAME=conformance-api-7",
		"SCALINGO_PRIVATE_HOSTNAME=" + name, "ATOLL_PRIVATE_IP=" + i.PrivateAddr.String(),
		i.PrivateAddr.String() + " conformance-api-7", "conformance-api-7"} {
		if !slices.Contains(got, want) {
			t.Errorf("the container does not see %q; it has %q", want, got)
		}
	}
	if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "nameserver ") }) {
		t.Error("/etc/resolv.conf names no resolver")
	}
	if slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "PORT=") }) {
		t.Error("a private process type has PORT")
	}
}

func testActive(t *testing.T, f *fixture) {
	w := f.workload("probe wait", 1)
	w.Active = false
	before := f.start(t, w)[0]
	if before.Active {
		t.Fatal("the container is in service already")
	}
	w.Active = true
	w.Env = map[string]string{"GREETING": "another"}
	f.apply(t, w)
	after := f.roster.Await(t, w.ID, "the activation", func(rows []platform.Instance) bool { return rows[0].Active })[0]
	if after.ID != before.ID || !after.StartedAt.Equal(before.StartedAt) {
		t.Errorf("the container was replaced: %+v, before %+v", after, before)
	}
	// A restart of the engine remembers it.
	f.letGo(t)
	f.open(t)
	if rows := f.roster.Rows(w.ID); len(rows) != 1 || !rows[0].Active || rows[0].ID != before.ID {
		t.Errorf("after a restart of the engine: %+v", rows)
	}
}

func testDrain(t *testing.T, f *fixture) {
	w := f.workload("probe wait", 1)
	i := f.start(t, w)[0]
	f.awaitLog(t, w.AppID, "ready")
	f.roster.Observe(i.ID, i.StartedAt, platform.Observation{Ready: true, ReadyAt: time.Now(),
		Listeners: []platform.Listener{{Protocol: "tcp", Addr: netip.IPv4Unspecified(), Port: 4000}}})
	check(t, f.Remove(context.Background(), w.ID))
	f.roster.AwaitGone(t, w.ID)
	if got := f.roster.States(i.ID); !slices.Equal(got, []string{"starting", "running", "draining", "stopping", "deleted"}) {
		t.Errorf("states %v", got)
	}
	draining := stateAt(t, f, i.ID, platform.InstanceDraining)
	stopping := stateAt(t, f, i.ID, platform.InstanceStopping)
	if d := stopping.Sub(draining); d < platform.DrainDelay {
		t.Errorf("stopped %v after it was reported as draining, want at least %v", d, platform.DrainDelay)
	}
	for _, l := range f.awaitLog(t, w.AppID, "got SIGTERM") {
		if l.Text == "got SIGTERM" && l.At.Sub(draining) < platform.DrainDelay {
			t.Errorf("SIGTERM came %v after it was reported as draining, want at least %v", l.At.Sub(draining), platform.DrainDelay)
		}
	}
}

func testNoDrain(t *testing.T, f *fixture) {
	w := f.workload("probe wait", 1)
	i := f.start(t, w)[0]
	f.awaitLog(t, w.AppID, "ready")
	o := platform.Observation{Ready: true, Listeners: []platform.Listener{{Protocol: "tcp", Addr: netip.MustParseAddr("127.0.0.1"), Port: 4000}}}
	f.roster.Observe(i.ID, i.StartedAt, o)
	check(t, f.Remove(context.Background(), w.ID))
	f.lookAgain(t, w, o)
	f.roster.AwaitGone(t, w.ID)
	draining := stateAt(t, f, i.ID, platform.InstanceDraining)
	if d := stateAt(t, f, i.ID, platform.InstanceStopping).Sub(draining); d >= platform.DrainDelay {
		t.Errorf("it drained for %v although nobody could connect", d)
	}
	f.awaitLog(t, w.AppID, "got SIGTERM")
}

func testDrainOfLateListener(t *testing.T, f *fixture) {
	w := f.workload("probe wait", 1)
	i := f.start(t, w)[0]
	f.awaitLog(t, w.AppID, "ready")
	f.roster.Observe(i.ID, i.StartedAt, platform.Observation{Ready: true})
	check(t, f.Remove(context.Background(), w.ID))
	f.lookAgain(t, w, platform.Observation{Ready: true, Listeners: []platform.Listener{{Protocol: "tcp", Addr: netip.IPv4Unspecified(), Port: 4000}}})
	f.roster.AwaitGone(t, w.ID)
	draining := stateAt(t, f, i.ID, platform.InstanceDraining)
	if d := stateAt(t, f, i.ID, platform.InstanceStopping).Sub(draining); d < platform.DrainDelay {
		t.Errorf("stopped %v after it was reported as draining, want at least %v", d, platform.DrainDelay)
	}
}

// lookAgain is what the observer does when the container of a workload drains.
func (f *fixture) lookAgain(t *testing.T, w platform.Workload, o platform.Observation) {
	t.Helper()
	i := f.roster.Await(t, w.ID, "draining", func(rows []platform.Instance) bool { return rows[0].State == platform.InstanceDraining })[0]
	o.Leaving = true
	f.roster.Observe(i.ID, i.StartedAt, o)
}

func stateAt(t *testing.T, f *fixture, id string, state platform.InstanceState) time.Time {
	t.Helper()
	for _, e := range f.roster.Of(id) {
		if e.Instance.State == state {
			return e.At
		}
	}
	t.Fatalf("%s was never %s: %v", id, state, f.roster.States(id))
	return time.Time{}
}

func testStubborn(t *testing.T, f *fixture) {
	w := f.workload("probe stubborn", 1)
	w.StopGrace = time.Second
	i := f.start(t, w)[0]
	f.awaitLog(t, w.AppID, "ready")
	check(t, f.Remove(context.Background(), w.ID))
	f.roster.AwaitGone(t, w.ID)
	if !hasLine(f.Log(t, w.AppID), "got SIGTERM") {
		t.Error("it was killed without SIGTERM")
	}
	gone := f.roster.Of(i.ID)
	if d := gone[len(gone)-1].At.Sub(stateAt(t, f, i.ID, platform.InstanceStopping)); d < w.StopGrace {
		t.Errorf("it was killed after %v, want its grace of %v", d, w.StopGrace)
	}
}

func testSignal(t *testing.T, f *fixture) {
	w := f.workload("probe wait", 1)
	i := f.start(t, w)[0]
	f.awaitLog(t, w.AppID, "ready")
	check(t, f.Signal(context.Background(), i.ID, syscall.SIGUSR1))
	f.awaitLog(t, w.AppID, "got SIGUSR1")
	if err := f.Signal(context.Background(), platform.NewID(), syscall.SIGUSR1); !errors.Is(err, engine.ErrNoInstance) {
		t.Errorf("signal to nobody: error %v, want ErrNoInstance", err)
	}
}

func testProfile(t *testing.T, f *fixture) {
	w := f.workload(`echo "$PROFILE_ONE, $PROFILE_TWO, $GREETING" && exec probe wait`, 1)
	f.start(t, w)
	got := texts(f.awaitLog(t, w.AppID, "ready"))
	if want := "1 one, 2 1 one, hello there"; !slices.Contains(got, want) {
		t.Errorf("the log is %q, want a line %q", got, want)
	}
}

func testCrash(t *testing.T, f *fixture) {
	w := f.workload("if [ -e /app/left ]; then exit 9; fi; echo x >/app/left; exit 3", 1)
	f.apply(t, w)
	rows := f.roster.Await(t, w.ID, "the third crash", func(rows []platform.Instance) bool {
		return len(rows) == 1 && rows[0].Restarts >= 3 && rows[0].State == platform.InstanceCrashed
	})
	i := rows[0]
	if i.LastExit == nil || i.LastExit.Code != 3 || i.LastExit.OOM || !strings.Contains(i.Reason, "code 3") || !i.StartedAt.IsZero() {
		t.Errorf("the row does not tell of the crash: %+v", i)
	}
	var crashes []platform.Instance
	for _, e := range f.roster.Of(i.ID) {
		if e.Instance.State == platform.InstanceCrashed {
			crashes = append(crashes, e.Instance)
		}
	}
	for n, c := range crashes {
		delay := c.RetryAt.Sub(c.LastExit.At)
		if delay < engine.RestartDelay(n+1) {
			t.Errorf("crash %d: restart after %v, want at least %v", n+1, delay, engine.RestartDelay(n+1))
		}
		if c.ID != i.ID || c.PrivateAddr != i.PrivateAddr {
			t.Errorf("crash %d: the container changed: %+v", n+1, c)
		}
	}
	if got := f.roster.States(i.ID)[:5]; !slices.Equal(got, []string{"starting", "running", "crashed", "starting", "running"}) {
		t.Errorf("states %v", got)
	}
}

func testMissingImage(t *testing.T, f *fixture) {
	w := f.workload("probe wait", 1)
	w.Image = "atoll.local/missing:1"
	f.apply(t, w)
	rows := f.roster.Await(t, w.ID, "the failure", func(rows []platform.Instance) bool {
		return len(rows) == 1 && rows[0].State == platform.InstanceFailed
	})
	if i := rows[0]; !strings.Contains(i.Reason, w.Image) || i.RetryAt.Before(time.Now().Add(-time.Minute)) {
		t.Errorf("the row does not tell why: %+v", i)
	}
}

func testBadWorkload(t *testing.T, f *fixture) {
	for name, change := range map[string]func(*platform.Workload){
		"no id":      func(w *platform.Workload) { w.ID = "" },
		"no image":   func(w *platform.Workload) { w.Image = "" },
		"no command": func(w *platform.Workload) { w.Command = "" },
		"number 0":   func(w *platform.Workload) { w.Numbers = []int{0} },
	} {
		w := f.workload("probe wait", 1)
		change(&w)
		if err := f.Apply(context.Background(), w); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if ids, err := f.Workloads(context.Background()); err != nil || len(ids) > 0 {
		t.Errorf("the engine holds %v, error %v", ids, err)
	}
}
