package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

func testMemory(t *testing.T, f *fixture) {
	w := f.workload("probe eat 100 && exec probe wait", 1)
	w.Size.Memory = 64 << 20
	f.apply(t, w)
	i := f.roster.Await(t, w.ID, "the end for memory", func(rows []platform.Instance) bool {
		return len(rows) == 1 && rows[0].LastExit != nil
	})[0]
	if i.LastExit.Code != 137 || !i.LastExit.OOM || !strings.Contains(i.Reason, "memory") && i.State == platform.InstanceCrashed {
		t.Errorf("exit %+v, reason %q, want code 137 for memory", i.LastExit, i.Reason)
	}
	fits := f.workload("probe eat 30 && exec probe wait", 1)
	fits.Size.Memory = 64 << 20
	f.start(t, fits)
	f.awaitLog(t, fits.AppID, "ready")
}

func testPIDs(t *testing.T, f *fixture) {
	w := f.workload("probe spawn 100; exec probe wait", 1)
	w.Size.PIDs = 40
	f.start(t, w)
	for _, text := range texts(f.awaitLog(t, w.AppID, "spawned")) {
		var n int
		if _, err := fmt.Sscanf(text, "spawned %d", &n); err == nil && (n < 1 || n >= 40) {
			t.Errorf("it could start %d processes with a limit of 40", n)
		}
	}
}

func testPrivileges(t *testing.T, f *fixture) {
	w := f.workload("probe status; probe namespaces; probe write / /etc /usr /app /tmp; probe listen 80; exec probe wait", 1)
	f.start(t, w)
	got := texts(f.awaitLog(t, w.AppID, "ready"))
	none := "0000000000000000"
	for _, want := range []string{
		"CapInh " + none, "CapPrm " + none, "CapEff " + none, "CapBnd " + none, "CapAmb " + none,
		"NoNewPrivs 1", "Seccomp 2", "Uid 10000 10000 10000 10000", "Gid 10000 10000 10000 10000", "Groups", "Dir /app",
		"unshare user: EPERM", "unshare net: EPERM", "clone user: EPERM", "clone3: ENOSYS",
		"write / false", "write /etc false", "write /usr false", "write /app true", "write /tmp true",
		"listen 80 true",
	} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.TrimSpace(s) == want }) {
			t.Errorf("no line %q in %q", want, got)
		}
	}
}

// output is a buffer that is written while it is read.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// slowWriter takes its time.
type slowWriter struct{ to *output }

func (w slowWriter) Write(p []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	return w.to.Write(p)
}

func (f *fixture) job(args ...string) (engine.Job, *output) {
	out := &output{}
	return engine.Job{ID: platform.NewID(), Image: Image, Args: args, Env: map[string]string{"FROM_JOB": "yes"}, Output: out}, out
}

func testJob(t *testing.T, f *fixture) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o777))
	check(t, os.WriteFile(filepath.Join(dir, "in"), []byte("from outside\n"), 0o644))
	j, out := f.job("/bin/bash", "-c", `probe cat /in/in; echo to outside >/out/out; echo oops >&2; echo "$FROM_IMAGE $FROM_JOB"; probe status
(echo x >/in/no) 2>/dev/null && echo wrote; for ((i = 0; i < 20000; i++)); do echo "line $i"; done; exit 7`)
	j.Dir = "/tmp"
	j.Mounts = []engine.Mount{{Source: dir, Target: "/in", ReadOnly: true}, {Source: dir, Target: "/out"}}
	code, err := f.Engine.Run(context.Background(), j)
	if err != nil || code != 7 {
		t.Fatalf("code %d, error %v, want 7; output %.2000s", code, err, out)
	}
	for _, want := range []string{"from outside\n", "oops\n", "yes yes\n", "Dir /tmp\n", "Uid 10000", "CapEff 0000000000000000", "Seccomp 2", "line 19999\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the output %.2000s", want, out)
		}
	}
	if strings.Contains(out.String(), "wrote") {
		t.Error("it wrote to a read-only mount")
	}
	if text, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || string(text) != "to outside\n" {
		t.Errorf("the file it wrote: %q, %v", text, err)
	}

	// A reader that is slower than the job gets all of it.
	slow, rest := f.job("/bin/bash", "-c", `for ((i = 0; i < 20000; i++)); do echo "line $i"; done`)
	slow.Output = slowWriter{rest}
	if code, err := f.Engine.Run(context.Background(), slow); err != nil || code != 0 || !strings.HasSuffix(rest.String(), "line 19999\n") {
		t.Errorf("code %d, error %v, and the output ends with %q", code, err, rest.String()[max(0, len(rest.String())-20):])
	}

	big, _ := f.job("probe", "eat", "100")
	big.Memory = 64 << 20
	if code, err := f.Engine.Run(context.Background(), big); err != nil || code != 137 {
		t.Errorf("too much memory: code %d, error %v, want 137", code, err)
	}
	missing, _ := f.job("/no/such/program")
	if _, err := f.Engine.Run(context.Background(), missing); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("a program that is not there: error %v", err)
	}
	if rows, _ := f.roster.Snapshot(); len(rows) > 0 {
		t.Errorf("jobs are in the roster: %+v", rows)
	}
}

func testJobCancel(t *testing.T, f *fixture) {
	j, out := f.job("probe", "stubborn")
	reason := errors.New("the build was aborted")
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		_, err := f.Engine.Run(ctx, j)
		done <- err
	}()
	eventually(t, "the start of the job", func() bool { return strings.Contains(out.String(), "ready") })
	cancel(reason)
	select {
	case err := <-done:
		if !errors.Is(err, reason) {
			t.Errorf("error %v, want %v", err, reason)
		}
	case <-time.After(patience):
		t.Fatal("the job goes on")
	}
	// Its name is free again: everything of it is gone.
	j.Args, j.Output = []string{"probe", "status"}, &output{}
	if code, err := f.Engine.Run(context.Background(), j); err != nil || code != 0 {
		t.Errorf("the same job again: code %d, error %v", code, err)
	}
}

func testImages(t *testing.T, f *fixture) {
	ctx := context.Background()
	const ref = "atoll.local/enginetest:copy"
	if ok, err := f.HasImage(ctx, ref); ok || err != nil {
		t.Fatalf("it has %s: %v, error %v", ref, ok, err)
	}
	dir := BuildImage(t, t.TempDir())
	check(t, f.ImportLayout(ctx, dir, ref))
	check(t, f.ImportLayout(ctx, dir, ref)) // again is no error
	if ok, err := f.HasImage(ctx, ref); !ok || err != nil {
		t.Fatalf("it does not have %s after the import, error %v", ref, err)
	}
	w := f.workload("probe wait", 1)
	w.Image = ref
	i := f.start(t, w)[0]
	f.awaitLog(t, w.AppID, "ready")
	check(t, f.DeleteImage(ctx, ref))
	check(t, f.DeleteImage(ctx, ref))
	if ok, err := f.HasImage(ctx, ref); ok || err != nil {
		t.Errorf("it has %s after its deletion: %v, error %v", ref, ok, err)
	}
	// What runs goes on, and can start again.
	check(t, f.Signal(ctx, i.ID, 15))
	f.roster.Await(t, w.ID, "the restart", func(rows []platform.Instance) bool {
		return rows[0].Restarts == 1 && rows[0].State == platform.InstanceRunning
	})
	if err := f.ImportLayout(ctx, t.TempDir(), ref); err == nil {
		t.Error("an empty folder was imported")
	}
	check(t, os.RemoveAll(filepath.Join(dir, "blobs")))
	if err := f.ImportLayout(ctx, dir, "atoll.local/enginetest:broken"); err == nil {
		t.Error("a layout without blobs was imported")
	}
}
