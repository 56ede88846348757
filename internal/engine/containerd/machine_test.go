package containerd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/engine/enginetest"
	"github.com/atollhq/atoll/internal/logs"
	"github.com/atollhq/atoll/internal/platform"
)

// machine is a private containerd with all its folders. They have a fixed
// place, so that the next run finds what a killed one left.
type machine struct {
	dir   string
	image string
}

const machineDir = "/tmp/atoll-engine-test"

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it runs containers")
	}
	m := &machine{dir: machineDir}
	must(t, os.MkdirAll(m.dir, 0o755))
	lock, err := os.Create(filepath.Join(m.dir, "lock"))
	must(t, err)
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	clean := func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := Purge(ctx, m.config(nil)); err != nil {
			t.Errorf("cannot clean up: %v", err)
			return
		}
		// A killed run may have made sandboxes that no container knows.
		if _, err := newIslands(m.netns()).Restore(ctx, nil); err != nil {
			t.Errorf("cannot clean up: %v", err)
			return
		}
		for _, name := range []string{"data", "run", "logs", "bin"} {
			if err := os.RemoveAll(filepath.Join(m.dir, name)); err != nil {
				t.Errorf("cannot clean up: %v", err)
			}
		}
	}
	clean()
	t.Cleanup(func() { clean(); lock.Close() })
	must(t, os.MkdirAll(filepath.Join(m.dir, "bin"), 0o755))
	enginetest.Build(t, m.logger(), "github.com/atollhq/atoll/cmd/atoll-logger")
	m.image = enginetest.BuildImage(t, t.TempDir())
	e, err := New(context.Background(), m.config(enginetest.NewRecorder()))
	must(t, err)
	must(t, e.ImportLayout(context.Background(), m.image, enginetest.Image))
	must(t, e.Close())
	return m
}

func (m *machine) logger() string { return filepath.Join(m.dir, "bin", "atoll-logger") }
func (m *machine) netns() string  { return filepath.Join(m.dir, "run", "netns") }

func (m *machine) config(sink engine.Sink) Config {
	level := slog.LevelWarn
	if flag.Parsed() && testing.Verbose() { // not parsed in the process that is killed
		level = slog.LevelDebug
	}
	return Config{
		Namespace: "atoll-test", DataDir: filepath.Join(m.dir, "data"), RunDir: filepath.Join(m.dir, "run"),
		LogDir: filepath.Join(m.dir, "logs"), LoggerPath: m.logger(), CgroupParent: "/atoll-engine-test", Node: "test",
		Sink: sink, Network: newIslands(m.netns()), ResolvConf: "nameserver 172.17.0.1\n",
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
}

func (m *machine) harness(t *testing.T) enginetest.Harness {
	return enginetest.Harness{
		Open: func(t *testing.T, sink engine.Sink) enginetest.Engine {
			t.Helper()
			e, err := New(context.Background(), m.config(sink))
			must(t, err)
			return e
		},
		Crash:       m.crash,
		KillRuntime: m.killRuntime,
		Log:         m.log,
	}
}

// log reads the log of an app; a line that is being written is left out.
func (m *machine) log(t *testing.T, appID string) []enginetest.LogLine {
	t.Helper()
	lines, err := logs.NewStore(filepath.Join(m.dir, "logs")).Tail(appID, 1<<20, logs.Filter{})
	must(t, err)
	var out []enginetest.LogLine
	for _, l := range lines {
		out = append(out, enginetest.LogLine{At: l.At, Label: l.Label, Text: l.Text})
	}
	return out
}

func (m *machine) killRuntime(t *testing.T) {
	t.Helper()
	d := m.config(nil).daemon()
	pid := d.PID()
	if pid == 0 {
		t.Fatal("containerd does not run")
	}
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	deadline := time.Now().Add(30 * time.Second)
	for d.PID() == 0 || d.PID() == pid {
		if time.Now().After(deadline) {
			t.Fatal("nobody started containerd again")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// childWorkload is the environment variable that makes the test program the
// process that is killed.
const childWorkload = "ATOLL_ENGINE_TEST_WORKLOAD"

func (m *machine) crash(t *testing.T, w platform.Workload) {
	t.Helper()
	text, err := json.Marshal(w)
	must(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childWorkload+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // "signal: killed"
	if err != nil || line != "running\n" {
		t.Fatalf("the other process said %q, error %v", line, err)
	}
}

// child is the process that is killed.
func child(text string) error {
	var w platform.Workload
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return err
	}
	sink := enginetest.NewRecorder()
	m := &machine{dir: machineDir}
	e, err := New(context.Background(), m.config(sink))
	if err != nil {
		return err
	}
	if w.Kind == platform.KindApp {
		err = e.Apply(context.Background(), w)
	} else {
		err = e.Start(context.Background(), engine.OneOff{Workload: w})
	}
	if err != nil {
		return err
	}
	for {
		_, changed := sink.Snapshot()
		rows := sink.Rows(w.ID)
		running := slices.DeleteFunc(slices.Clone(rows), func(i platform.Instance) bool { return i.State != platform.InstanceRunning })
		if len(running) == len(w.Numbers) {
			break
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			return fmt.Errorf("the containers do not start: %+v", rows)
		}
	}
	fmt.Println("running")
	select {}
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childWorkload); text != "" {
		fmt.Fprintln(os.Stderr, "child:", child(text))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cgroupsLeft lists the cgroups below the test's parent.
func (m *machine) cgroupsLeft(t *testing.T) []string {
	t.Helper()
	h, err := probeHost()
	must(t, err)
	var left []string
	for _, point := range h.cgroups {
		entries, err := os.ReadDir(filepath.Join(point, m.config(nil).CgroupParent))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				left = append(left, strings.TrimPrefix(filepath.Join(point, e.Name()), "/sys/fs/cgroup/"))
			}
		}
	}
	return left
}
