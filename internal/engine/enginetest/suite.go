package enginetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
)

// Engine is what an adapter is.
type Engine interface {
	engine.Engine
	engine.OneOffs
	engine.Images
}

// Harness is an adapter to be tested, with what lies below it. It has the
// image Image already.
type Harness struct {
	// Open starts an engine that reports to sink. The suite opens one after
	// the other, over the same containers.
	Open func(t *testing.T, sink engine.Sink) Engine
	// Crash applies a workload (starts it, unless it is of KindApp) in a
	// process of its own, waits until all its containers run, and ends that
	// process with SIGKILL.
	Crash func(t *testing.T, w platform.Workload)
	// KillRuntime ends what runs containers (containerd) with SIGKILL while
	// an engine is open. The engine, or the machine, must bring it back.
	KillRuntime func(t *testing.T)
	// Log returns the log of an app so far, a line as "[label] text".
	Log func(t *testing.T, appID string) []LogLine
}

// LogLine is a line of an app's log.
type LogLine struct {
	At    time.Time
	Label string
	Text  string
}

// Run runs the whole suite. setUp is called once.
func Run(t *testing.T, setUp func(*testing.T) Harness) {
	h := setUp(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"apply holds the numbers it was told", testApply},
		{"a container knows who it is", testIdentity},
		{"activation is taken over without a restart", testActive},
		{"a container drains before it is stopped", testDrain},
		{"a container that nobody can reach does not drain", testNoDrain},
		{"a container that listens since the last look drains", testDrainOfLateListener},
		{"a process that ignores SIGTERM is killed", testStubborn},
		{"a signal reaches the first process", testSignal},
		{"profile files are read before the command", testProfile},
		{"a crashed process is started again with growing delays", testCrash},
		{"a container that cannot be created is reported", testMissingImage},
		{"a bad workload is refused", testBadWorkload},
		{"memory is limited", testMemory},
		{"processes are limited", testPIDs},
		{"a container has no privileges", testPrivileges},
		{"a one-off runs once, as a member of its network", testOneOff},
		{"a one-off that cannot be started is reported once", testOneOffFailed},
		{"a one-off is stopped and keeps its exit code", testOneOffStop},
		{"a one-off outlives the engine and is not run again", testOneOffReopen},
		{"a one-off and its log outlive a killed process", testOneOffKilled},
		{"a one-off that ended meanwhile is noticed", testOneOffEndedMeanwhile},
		{"an attached one-off has pipes that end", testAttached},
		{"an attached one-off has a terminal", testTerminal},
		{"an attached one-off ends with the process that started it", testAttachedLost},
		{"a job runs to its end", testJob},
		{"a job that is cancelled is removed", testJobCancel},
		{"images come, go, and are not needed by what runs", testImages},
		{"containers outlive the engine", testReopen},
		{"containers and their logs outlive a killed process", testKilled},
		{"a container that died meanwhile is noticed", testDiedMeanwhile},
		{"a stop goes on after a restart", testStopResumed},
		{"containers outlive a killed runtime", testRuntimeKilled},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fixture{Harness: h}
			f.open(t)
			t.Cleanup(func() { f.close(t) })
			c.test(t, f)
		})
	}
}

// fixture is an open engine with its roster.
type fixture struct {
	Harness
	Engine
	roster  *Recorder
	applied []string
}

// open starts an engine with an empty roster.
func (f *fixture) open(t *testing.T) {
	t.Helper()
	f.roster = NewRecorder()
	f.Engine = f.Open(t, f.roster)
}

// letGo closes the engine, leaving its containers.
func (f *fixture) letGo(t *testing.T) {
	t.Helper()
	check(t, f.Engine.Close())
	f.Engine = nil
}

func (f *fixture) close(t *testing.T) {
	t.Helper()
	if f.Engine == nil {
		f.open(t)
	}
	for _, id := range f.applied {
		check(t, f.Remove(context.Background(), id))
	}
	for _, id := range f.applied {
		f.roster.AwaitGone(t, id)
	}
	if ids, err := f.Workloads(context.Background()); err != nil || len(ids) > 0 {
		t.Errorf("the engine still holds %v (error %v)", ids, err)
	}
	check(t, f.Engine.Close())
}

// workload is one that runs a command.
func (f *fixture) workload(command string, numbers ...int) platform.Workload {
	return platform.Workload{
		ID: platform.NewID(), ProjectID: platform.NewProjectID(),
		Network: platform.PrivateNetwork{ID: platform.NewNetworkID(), Key: 1},
		AppID:   platform.NewAppID(), AppName: "conformance", Type: "api", Kind: platform.KindApp,
		Generation: 1, Numbers: numbers, Active: true, Image: Image, Version: "v1", Command: command,
		Env:  map[string]string{"GREETING": "hello there"},
		Size: platform.Sizes[0], Stack: "enginetest", Region: "local", StopGrace: 10 * time.Second,
	}
}

func (f *fixture) apply(t *testing.T, w platform.Workload) {
	t.Helper()
	f.applied = append(f.applied, w.ID)
	check(t, f.Apply(context.Background(), w))
}

// start applies a workload and waits until its containers run.
func (f *fixture) start(t *testing.T, w platform.Workload) []platform.Instance {
	t.Helper()
	f.apply(t, w)
	return f.roster.AwaitNumbers(t, w.ID, w.Numbers...)
}

// awaitLog waits for a line with a text and returns the log up to then.
func (f *fixture) awaitLog(t *testing.T, appID, text string) []LogLine {
	t.Helper()
	var found []LogLine
	eventually(t, "the log line "+text, func() bool {
		found = f.Log(t, appID)
		return hasLine(found, text)
	})
	return found
}

func hasLine(lines []LogLine, text string) bool {
	for _, l := range lines {
		if strings.HasPrefix(l.Text, text) {
			return true
		}
	}
	return false
}

func texts(lines []LogLine) []string {
	var out []string
	for _, l := range lines {
		out = append(out, l.Text)
	}
	return out
}
