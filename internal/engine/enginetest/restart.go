package enginetest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/platform"
)

func testReopen(t *testing.T, f *fixture) {
	w := f.workload("probe count 20", 1, 2)
	before := f.start(t, w)
	// A signal before a process listens for it would go unseen.
	eventually(t, "a line of each container", func() bool {
		lines := f.Log(t, w.AppID)
		return hasLabel(lines, "1") && hasLabel(lines, "2")
	})
	f.letGo(t)
	f.open(t)
	// New has returned: the roster is complete without waiting.
	after := f.roster.Rows(w.ID)
	sameRunning(t, before, after)
	// All of it works on containers of the former engine.
	w.Numbers = []int{1}
	f.apply(t, w)
	f.roster.AwaitNumbers(t, w.ID, 1)
	f.awaitLog(t, w.AppID, "counted")
	check(t, f.Remove(context.Background(), w.ID))
	f.roster.AwaitGone(t, w.ID)
}

// hasLabel reports whether container number n wrote a line.
func hasLabel(lines []LogLine, n string) bool {
	return slices.ContainsFunc(lines, func(l LogLine) bool { return strings.HasSuffix(l.Label, "-"+n) })
}

// sameRunning checks that rows are of the same processes.
func sameRunning(t *testing.T, before, after []platform.Instance) {
	t.Helper()
	if len(before) != len(after) {
		t.Fatalf("the rows are %+v, before %+v", after, before)
	}
	for n, a := range after {
		b := before[n]
		if a.ID != b.ID || a.Number != b.Number || a.State != platform.InstanceRunning || !a.StartedAt.Equal(b.StartedAt) ||
			a.Restarts != b.Restarts || a.PrivateAddr != b.PrivateAddr || a.NetnsPath != b.NetnsPath || a.Command != b.Command {
			t.Errorf("the row is %+v, before %+v", a, b)
		}
	}
}

func testKilled(t *testing.T, f *fixture) {
	w := f.workload("probe count 10", 1, 2)
	f.letGo(t)
	f.applied = append(f.applied, w.ID)
	f.Crash(t, w)
	// Nobody is there now: lines go on.
	had := len(f.Log(t, w.AppID))
	eventually(t, "more of the log", func() bool { return len(f.Log(t, w.AppID)) >= had+100 })
	f.open(t)
	rows := f.roster.Rows(w.ID)
	if len(rows) != 2 || rows[0].State != platform.InstanceRunning || rows[1].State != platform.InstanceRunning ||
		rows[0].Restarts+rows[1].Restarts != 0 {
		t.Fatalf("after the new start: %+v", rows)
	}
	check(t, f.Remove(context.Background(), w.ID))
	f.roster.AwaitGone(t, w.ID)
	for n := 1; n <= 2; n++ {
		complete(t, f, w.AppID, platform.ContainerLabel(w.Type, n))
	}
}

// complete checks that the lines of "probe count" are all there, in order,
// up to the last.
func complete(t *testing.T, f *fixture, appID, label string) {
	t.Helper()
	want := 1
	for _, l := range f.Log(t, appID) {
		if l.Label != label {
			continue
		}
		if l.Text == fmt.Sprintf("counted %d", want-1) {
			return
		}
		if l.Text != fmt.Sprintf("count %d", want) {
			t.Fatalf("line %q of %s, want number %d", l.Text, label, want)
		}
		want++
	}
	t.Errorf("the log of %s ends after line %d, before its last one", label, want-1)
}

func testDiedMeanwhile(t *testing.T, f *fixture) {
	w := f.workload("probe die 42", 1)
	before := f.start(t, w)[0]
	f.awaitLog(t, w.AppID, "dying soon")
	f.letGo(t)
	f.awaitLog(t, w.AppID, "dying now")
	f.open(t)
	row := f.roster.Await(t, w.ID, "its crash", func(rows []platform.Instance) bool {
		return len(rows) == 1 && rows[0].LastExit != nil
	})[0]
	if row.ID != before.ID || row.LastExit.Code != 42 || row.Restarts != 1 {
		t.Errorf("the row is %+v, want exit 42 of %s", row, before.ID)
	}
	again := f.roster.Await(t, w.ID, "its restart", func(rows []platform.Instance) bool {
		return rows[0].State == platform.InstanceRunning
	})[0]
	if again.PrivateAddr != before.PrivateAddr {
		t.Errorf("it has the address %v, before %v", again.PrivateAddr, before.PrivateAddr)
	}
}

func testStopResumed(t *testing.T, f *fixture) {
	w := f.workload("probe wait", 1)
	i := f.start(t, w)[0]
	f.awaitLog(t, w.AppID, "ready")
	f.roster.Observe(i.ID, i.StartedAt, platform.Observation{Ready: true,
		Listeners: []platform.Listener{{Protocol: "tcp", Addr: netip.IPv4Unspecified(), Port: 4000}}})
	check(t, f.Remove(context.Background(), w.ID))
	f.roster.Await(t, w.ID, "draining", func(rows []platform.Instance) bool { return rows[0].State == platform.InstanceDraining })
	draining := stateAt(t, f, i.ID, platform.InstanceDraining)
	f.letGo(t)
	f.open(t)
	// Nobody says Remove again.
	if rows := f.roster.Rows(w.ID); len(rows) == 1 && rows[0].State == platform.InstanceRunning {
		t.Errorf("it is back in service: %+v", rows)
	}
	f.roster.AwaitGone(t, w.ID)
	for _, l := range f.awaitLog(t, w.AppID, "got SIGTERM") {
		if l.Text == "got SIGTERM" && l.At.Sub(draining) < platform.DrainDelay {
			t.Errorf("SIGTERM came after %v, want at least %v", l.At.Sub(draining), platform.DrainDelay)
		}
	}
}

func testRuntimeKilled(t *testing.T, f *fixture) {
	w := f.workload("probe count 20", 1, 2)
	before := f.start(t, w)
	f.KillRuntime(t)
	had := len(f.Log(t, w.AppID))
	eventually(t, "more of the log", func() bool { return len(f.Log(t, w.AppID)) >= had+50 })
	sameRunning(t, before, f.roster.Rows(w.ID))
	// Everything works again: new containers, the end of old ones.
	w.Numbers = []int{1, 2, 3}
	f.apply(t, w)
	after := f.roster.AwaitNumbers(t, w.ID, 1, 2, 3)
	sameRunning(t, before, after[:2])
	check(t, f.Signal(context.Background(), before[0].ID, 15)) // it ends with code 0, unasked
	f.roster.Await(t, w.ID, "the restart of number 1", func(rows []platform.Instance) bool {
		return rows[0].Restarts == 1 && rows[0].State == platform.InstanceRunning
	})
	if got := f.roster.States(before[1].ID); !slices.Equal(got, []string{"starting", "running"}) {
		t.Errorf("states of number 2: %v", got)
	}
}
