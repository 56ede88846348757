package enginetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
)

// oneOff is one that runs a command.
func (f *fixture) oneOff(command string) engine.OneOff {
	w := f.workload(command, 1)
	w.Kind, w.Type, w.Active = platform.KindOneOff, platform.TypeOneOff, false
	return engine.OneOff{Workload: w}
}

// begin starts a one-off; it is removed with the fixture.
func (f *fixture) begin(t *testing.T, o engine.OneOff) {
	t.Helper()
	f.applied = append(f.applied, o.Workload.ID)
	check(t, f.Start(context.Background(), o))
}

// awaitState waits for a state of the one row of a one-off.
func (f *fixture) awaitState(t *testing.T, o engine.OneOff, state platform.InstanceState) platform.Instance {
	t.Helper()
	return f.roster.Await(t, o.Workload.ID, "the state "+string(state), func(rows []platform.Instance) bool {
		return len(rows) == 1 && rows[0].State == state
	})[0]
}

func testOneOff(t *testing.T, f *fixture) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "in"), []byte("uploaded\n"), 0o644))
	o := f.oneOff("probe env; probe cat /tmp/uploads/in; exit 7")
	o.Mounts = []engine.Mount{{Source: dir, Target: "/tmp/uploads", ReadOnly: true}}
	f.begin(t, o)
	row := f.awaitState(t, o, platform.InstanceEnded)
	if row.ID != o.Workload.ID || row.LastExit == nil || row.LastExit.Code != 7 || row.LastExit.OOM || row.Reason != "" || row.Restarts != 0 || row.StartedAt.IsZero() {
		t.Errorf("the row does not tell of the end: %+v", row)
	}
	if row.PrivateAddr.IsValid() || row.OutsideAddr.IsValid() || row.NetnsPath != "" {
		t.Errorf("it still has addresses: %+v", row)
	}
	if got := f.roster.States(row.ID); !slices.Equal(got, []string{"starting", "running", "ended"}) {
		t.Errorf("states %v", got)
	}
	addr := ""
	for _, e := range f.roster.Of(row.ID) {
		if e.Instance.State == platform.InstanceRunning {
			addr = e.Instance.PrivateAddr.String()
		}
	}
	w := o.Workload
	name := platform.PrivateName{Number: 1, Type: "one-off", AppID: w.AppID, NetworkID: w.Network.ID}.String()
	got := texts(f.awaitLog(t, w.AppID, "uploaded"))
	for _, want := range []string{"CONTAINER=one-off-1", "SCALINGO_PRIVATE_HOSTNAME=" + name, "ATOLL_PRIVATE_IP=" + addr} {
		if !slices.Contains(got, want) {
			t.Errorf("the container does not see %q; it has %q", want, got)
		}
	}
	for _, l := range f.Log(t, w.AppID) {
		if l.Label != "one-off-1" {
			t.Errorf("line %+v: want the label one-off-1", l)
		}
	}
	if err := f.Start(context.Background(), o); !errors.Is(err, engine.ErrExists) {
		t.Errorf("the same again: error %v, want ErrExists", err)
	}
	// It stays until somebody has taken note, also over a restart.
	f.letGo(t)
	f.open(t)
	if again := f.awaitState(t, o, platform.InstanceEnded); again.LastExit == nil || again.LastExit.Code != 7 || !again.LastExit.At.Equal(row.LastExit.At) {
		t.Errorf("after a restart: %+v, before %+v", again, row)
	}
	check(t, f.Stop(context.Background(), w.ID))
	check(t, f.Remove(context.Background(), w.ID))
	f.roster.AwaitGone(t, w.ID)

	bad := f.oneOff("true")
	bad.Workload.Numbers = []int{1, 2}
	if err := f.Start(context.Background(), bad); err == nil {
		t.Error("two containers were accepted")
	}
}

func testOneOffFailed(t *testing.T, f *fixture) {
	o := f.oneOff("true")
	o.Workload.Image = "atoll.local/missing:1"
	f.begin(t, o)
	row := f.awaitState(t, o, platform.InstanceFailed)
	if !strings.Contains(row.Reason, "atoll.local/missing:1") || !row.RetryAt.IsZero() || row.LastExit != nil {
		t.Errorf("the row is %+v", row)
	}
	check(t, f.Stop(context.Background(), o.Workload.ID))
	check(t, f.Stop(context.Background(), "no-such-workload"))
}

func testOneOffStop(t *testing.T, f *fixture) {
	o := f.oneOff("trap 'echo asked; exit 5' TERM; echo ready; while :; do read -t 0.1 <> <(:); done")
	f.begin(t, o)
	f.awaitLog(t, o.Workload.AppID, "ready")
	check(t, f.Stop(context.Background(), o.Workload.ID))
	row := f.awaitState(t, o, platform.InstanceEnded)
	if row.LastExit == nil || row.LastExit.Code != 5 || row.Reason != "it was stopped" {
		t.Errorf("the row is %+v, want exit 5", row)
	}
	f.awaitLog(t, o.Workload.AppID, "asked")
	// What is held cannot be ended and kept.
	w := f.workload("probe wait", 1)
	f.start(t, w)
	if err := f.Stop(context.Background(), w.ID); err == nil {
		t.Error("a workload of the formation was stopped")
	}
}

func testOneOffReopen(t *testing.T, f *fixture) {
	o := f.oneOff("probe count 20")
	f.begin(t, o)
	before := f.awaitState(t, o, platform.InstanceRunning)
	f.awaitLog(t, o.Workload.AppID, "count 3")
	f.letGo(t)
	f.open(t)
	sameRunning(t, []platform.Instance{before}, f.roster.Rows(o.Workload.ID))
	check(t, f.Stop(context.Background(), o.Workload.ID))
	row := f.awaitState(t, o, platform.InstanceEnded)
	if row.LastExit == nil || row.LastExit.Code != 0 {
		t.Errorf("the row is %+v", row)
	}
	complete(t, f, o.Workload.AppID, "one-off-1")
}

func testOneOffKilled(t *testing.T, f *fixture) {
	o := f.oneOff("probe count 10")
	f.letGo(t)
	f.applied = append(f.applied, o.Workload.ID)
	f.Crash(t, o.Workload)
	had := len(f.Log(t, o.Workload.AppID))
	eventually(t, "more of the log", func() bool { return len(f.Log(t, o.Workload.AppID)) >= had+50 })
	f.open(t)
	if rows := f.roster.Rows(o.Workload.ID); len(rows) != 1 || rows[0].State != platform.InstanceRunning || rows[0].Kind != platform.KindOneOff {
		t.Fatalf("after the new start: %+v", rows)
	}
	check(t, f.Stop(context.Background(), o.Workload.ID))
	f.awaitState(t, o, platform.InstanceEnded)
	complete(t, f, o.Workload.AppID, "one-off-1")
}

func testOneOffEndedMeanwhile(t *testing.T, f *fixture) {
	o := f.oneOff("probe die 42")
	f.begin(t, o)
	f.awaitLog(t, o.Workload.AppID, "dying soon")
	f.letGo(t)
	f.awaitLog(t, o.Workload.AppID, "dying now")
	f.open(t)
	row := f.awaitState(t, o, platform.InstanceEnded)
	if row.LastExit == nil || row.LastExit.Code != 42 || row.Restarts != 0 {
		t.Errorf("the row is %+v, want exit 42", row)
	}
}

func testAttached(t *testing.T, f *fixture) {
	in, feed := io.Pipe()
	var out screen
	o := f.oneOff("probe read; echo oops >&2; exit 3")
	o.Attached = &engine.Attachment{Input: in, Output: &out}
	f.begin(t, o)
	go func() {
		_, _ = feed.Write([]byte("one\ntwo \x04\n"))
		feed.Close()
	}()
	row := f.awaitState(t, o, platform.InstanceEnded)
	if row.LastExit == nil || row.LastExit.Code != 3 {
		t.Errorf("the row is %+v, want exit 3", row)
	}
	// All of the output is there before the end is reported. The two streams
	// are two pipes: which comes first is not known.
	want := "read one\nread two \x04\nend of input after 8 <nil>\n"
	if got := out.String(); !strings.Contains(got, "oops\n") || strings.Replace(got, "oops\n", "", 1) != want {
		t.Errorf("the output is %q, want %q and oops", out.String(), want)
	}
	if lines := f.Log(t, o.Workload.AppID); len(lines) > 0 {
		t.Errorf("it wrote to the log: %v", lines)
	}
	if err := f.Resize(context.Background(), o.Workload.ID, 80, 24); !errors.Is(err, engine.ErrNoInstance) {
		t.Errorf("size of a terminal that is none: error %v", err)
	}
	// Without an input there is nothing to wait for.
	deaf, rest := f.oneOff("probe read"), screen{}
	deaf.Attached = &engine.Attachment{Output: &rest}
	f.begin(t, deaf)
	f.awaitState(t, deaf, platform.InstanceEnded)
	if got := rest.String(); !strings.HasPrefix(got, "end of input after 0") {
		t.Errorf("the output is %q", got)
	}
}

func testTerminal(t *testing.T, f *fixture) {
	in, keyboard := io.Pipe()
	defer keyboard.Close()
	var out screen
	o := f.oneOff("probe terminal; exit 4")
	o.Attached = &engine.Attachment{Input: in, Output: &out, Terminal: true, Width: 120, Height: 40}
	f.begin(t, o)
	out.await(t, "terminal 120 40\r\n")
	check(t, f.Resize(context.Background(), o.Workload.ID, 100, 30))
	out.await(t, "terminal 100 30\r\n")
	if err := f.Resize(context.Background(), o.Workload.ID, 0, 30); err == nil {
		t.Error("a width of 0 was accepted")
	}
	_, err := keyboard.Write([]byte("hello\n"))
	check(t, err)
	out.await(t, "hello\r\nline hello true\r\n") // with the terminal's echo
	_, err = keyboard.Write([]byte{4})           // Ctrl-D
	check(t, err)
	row := f.awaitState(t, o, platform.InstanceEnded)
	if row.LastExit == nil || row.LastExit.Code != 4 || !strings.HasSuffix(out.String(), "line  false\r\n") {
		t.Errorf("the row is %+v, the output %q", row, out.String())
	}

	// A shell that waits for its person ends when it is stopped.
	shell := f.oneOff("exec bash -i")
	in1, keyboard1 := io.Pipe()
	defer keyboard1.Close()
	out1 := screen{}
	shell.Attached = &engine.Attachment{Input: in1, Output: &out1, Terminal: true}
	f.begin(t, shell)
	_, err = keyboard1.Write([]byte("echo $((20+3))\n"))
	check(t, err)
	out1.await(t, "23\r\n")
	began := time.Now()
	check(t, f.Stop(context.Background(), shell.Workload.ID))
	f.awaitState(t, shell, platform.InstanceEnded)
	if d := time.Since(began); d >= shell.Workload.StopGrace {
		t.Errorf("the shell ended after %v, by SIGKILL", d)
	}

	// Ctrl-C reaches what runs in front.
	o = f.oneOff("probe terminal")
	in2, keyboard2 := io.Pipe()
	defer keyboard2.Close()
	out2 := screen{}
	o.Attached = &engine.Attachment{Input: in2, Output: &out2, Terminal: true}
	f.begin(t, o)
	out2.await(t, "terminal 80 24\r\n")
	_, err = keyboard2.Write([]byte{3})
	check(t, err)
	if row := f.awaitState(t, o, platform.InstanceEnded); row.LastExit == nil || row.LastExit.Code == 0 {
		t.Errorf("after Ctrl-C: %+v", row)
	}
}

func testAttachedLost(t *testing.T, f *fixture) {
	in, keyboard := io.Pipe()
	defer keyboard.Close()
	var out screen
	o := f.oneOff("probe count 20")
	o.Attached = &engine.Attachment{Input: in, Output: &out, Terminal: true}
	f.begin(t, o)
	out.await(t, "count 3\r\n")
	f.letGo(t)
	f.open(t)
	row := f.awaitState(t, o, platform.InstanceEnded)
	if row.LastExit == nil || row.Reason == "" {
		t.Errorf("the row is %+v", row)
	}
}

// screen keeps what was written.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !strings.Contains(s.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("%q did not show; the screen has %q", text, s.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}
