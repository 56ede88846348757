package containerd

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/engine/enginetest"
	"github.com/atollhq/atoll/internal/platform"
)

func TestConformance(t *testing.T) {
	m := newMachine(t)
	enginetest.Run(t, m.harness)
	t.Run("nothing is left", func(t *testing.T) {
		if left := newIslands(m.netns()).left(t); len(left) > 0 {
			t.Errorf("sandboxes %v", left)
		}
		if left := m.cgroupsLeft(t); len(left) > 0 {
			t.Errorf("cgroups %v", left)
		}
		if dirs, err := os.ReadDir(filepath.Join(m.dir, "run", "instances")); err == nil && len(dirs) > 0 {
			t.Errorf("files of %d containers", len(dirs))
		}
	})
}

// opened is an engine with its roster; its containers are removed with the
// machine.
func (m *machine) opened(t *testing.T, change func(*Config)) (*Engine, *enginetest.Recorder) {
	t.Helper()
	sink := enginetest.NewRecorder()
	cfg := m.config(sink)
	if change != nil {
		change(&cfg)
	}
	e, err := New(context.Background(), cfg)
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	return e, sink
}

func workload(command string, numbers ...int) platform.Workload {
	return platform.Workload{
		ID: platform.NewID(), ProjectID: platform.NewProjectID(), Network: platform.PrivateNetwork{ID: platform.NewNetworkID(), Key: 1},
		AppID: platform.NewAppID(), AppName: "adapter", Type: "api", Kind: platform.KindApp, Generation: 1, Numbers: numbers,
		Active: true, Image: enginetest.Image, Command: command, Size: platform.Sizes[0], StopGrace: time.Second,
	}
}

func TestAdapter(t *testing.T) {
	m := newMachine(t)
	t.Run("a full network is reported and tried again", func(t *testing.T) { testNetworkFull(t, m) })
	t.Run("a start waits for room that others make", func(t *testing.T) { testRoom(t, m) })
	t.Run("a start waits until there is room again", func(t *testing.T) { testRoomLater(t, m) })
	t.Run("a job waits for room", func(t *testing.T) { testRoomForJob(t, m) })
	t.Run("a group reaches containers that run", func(t *testing.T) { testRegroup(t, m) })
	t.Run("the cgroup has the limits", func(t *testing.T) { testCgroup(t, m) })
	t.Run("a container whose shim is killed starts again", func(t *testing.T) { testShimKilled(t, m) })
	t.Run("containers share a shim and outlive each other", func(t *testing.T) { testGroup(t, m) })
	t.Run("what runs is known before its network is looked after", func(t *testing.T) { testFound(t, m) })
	t.Run("one engine per folder", func(t *testing.T) { testLock(t, m) })
	t.Run("leftover jobs and sandboxes are removed", func(t *testing.T) { testLeftovers(t, m) })
	t.Run("after a restart of the machine all starts again", func(t *testing.T) { testReboot(t, m) })
	t.Run("a container whose network is lost has no addresses", func(t *testing.T) { testNetworkLost(t, m) })
	t.Run("a containerd that runs already", func(t *testing.T) { testAddress(t, m) })
	t.Run("a program that knows nothing of SIGTERM ends with tini", func(t *testing.T) { testTini(t, m) })
	t.Run("many start and end at a time", func(t *testing.T) { testMany(t, m) })
}

// Containers of a version before have no group; they get it without a restart,
// also when the network cannot take it at once.
func testRegroup(t *testing.T, m *machine) {
	network := newIslands(m.netns())
	e, sink := m.opened(t, func(c *Config) { c.Network = network })
	w := workload("probe wait", 1)
	must(t, e.Apply(context.Background(), w))
	before := sink.AwaitNumbers(t, w.ID, 1)[0]
	if got := network.group(before.ID); got != 0 {
		t.Fatalf("group is %d", got)
	}
	network.fill(true)
	w.Group = 42
	must(t, e.Apply(context.Background(), w))
	for end := time.Now().Add(30 * time.Second); network.refusals() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the network was not told")
		}
	}
	network.fill(false)
	awaitGroup(t, network, before.ID, 42)
	if after := sink.AwaitNumbers(t, w.ID, 1)[0]; !after.StartedAt.Equal(before.StartedAt) || after.PrivateAddr != before.PrivateAddr {
		t.Errorf("the container was %+v, is %+v", before, after)
	}
	// The next process knows it, and tells the network when it starts again.
	must(t, e.Close())
	network = newIslands(m.netns())
	e, sink = m.opened(t, func(c *Config) { c.Network = network })
	row := sink.AwaitNumbers(t, w.ID, 1)[0]
	must(t, e.Signal(context.Background(), row.ID, syscall.SIGKILL))
	awaitGroup(t, network, row.ID, 42)
	must(t, e.Remove(context.Background(), w.ID))
	sink.AwaitGone(t, w.ID)
}

// Names are served as soon as the rows are there; the network takes longer.
func testFound(t *testing.T, m *machine) {
	e, sink := m.opened(t, nil)
	w := workload("probe wait", 1, 2)
	must(t, e.Apply(context.Background(), w))
	before := sink.AwaitNumbers(t, w.ID, 1, 2)
	must(t, e.Close())

	network, again := newIslands(m.netns()), enginetest.NewRecorder()
	var found []platform.Instance
	e, _ = m.opened(t, func(c *Config) {
		c.Network, c.Sink = network, again
		c.Found = func() {
			found = again.Rows(w.ID)
			if len(network.known) > 0 {
				t.Error("the network was looked after first")
			}
		}
	})
	if diff := cmp.Diff(before, found, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("found otherwise than it was (-was +found):\n%s", diff)
	}
	must(t, e.Remove(context.Background(), w.ID))
	again.AwaitGone(t, w.ID)
}

func awaitGroup(t *testing.T, network *islands, id string, want uint32) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); network.group(id) != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the network was told group %d, want %d", network.group(id), want)
		}
	}
}

func testNetworkFull(t *testing.T, m *machine) {
	network := newIslands(m.netns())
	network.full = true
	e, sink := m.opened(t, func(c *Config) { c.Network = network })
	w := workload("probe wait", 1)
	must(t, e.Apply(context.Background(), w))
	row := sink.Await(t, w.ID, "the failure", func(rows []platform.Instance) bool {
		return len(rows) == 1 && rows[0].State == platform.InstanceFailed
	})[0]
	if !strings.Contains(row.Reason, "all 1022 addresses are taken") || row.RetryAt.IsZero() {
		t.Errorf("the row does not say why: %+v", row)
	}
	network.mu.Lock()
	network.full = false
	network.mu.Unlock()
	if row := sink.AwaitNumbers(t, w.ID, 1)[0]; row.Reason != "" || row.Restarts != 0 {
		t.Errorf("after it worked: %+v", row)
	}
	remove(t, e, sink, w)
}

func remove(t *testing.T, e *Engine, sink *enginetest.Recorder, w platform.Workload) {
	t.Helper()
	must(t, e.Remove(context.Background(), w.ID))
	sink.AwaitGone(t, w.ID)
}

func testCgroup(t *testing.T, m *machine) {
	e, sink := m.opened(t, nil)
	w := workload("probe wait", 1)
	must(t, e.Apply(context.Background(), w))
	row := sink.AwaitNumbers(t, w.ID, 1)[0]
	limits := map[string]string{
		"memory/memory.limit_in_bytes": "268435456",
		"pids/pids.max":                "128",
		"cpu/cpu.shares":               "512",
	}
	if e.host.unified {
		limits = map[string]string{"/memory.max": "268435456", "/memory.swap.max": "0", "/pids.max": "128", "/cpu.weight": "50"}
	}
	for file, want := range limits {
		controller, name, _ := strings.Cut(file, "/")
		text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, e.cgroup(row.ID), name))
		if err != nil || strings.TrimSpace(string(text)) != want {
			t.Errorf("%s is %q (error %v), want %s", file, text, err, want)
		}
	}
	remove(t, e, sink, w)
}

// shims returns the pids of the shims of a container.
func shims(t *testing.T, id string) []int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	var pids []int
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "containerd-shim") || !strings.Contains(string(text), id) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		must(t, err)
		pids = append(pids, pid)
	}
	return pids
}

func testShimKilled(t *testing.T, m *machine) {
	e, sink := m.opened(t, nil)
	w := workload("probe wait", 1)
	must(t, e.Apply(context.Background(), w))
	before := sink.AwaitNumbers(t, w.ID, 1)[0]
	pids := shims(t, before.ID)
	if len(pids) != 1 {
		t.Fatalf("shims %v", pids)
	}
	must(t, syscall.Kill(pids[0], syscall.SIGKILL))
	defer func() {
		if got := sink.States(before.ID)[:5]; !slices.Equal(got, []string{"starting", "running", "crashed", "starting", "running"}) {
			t.Errorf("states %v", got)
		}
	}()
	after := sink.Await(t, w.ID, "the restart", func(rows []platform.Instance) bool {
		return rows[0].Restarts > 0 && rows[0].State == platform.InstanceRunning
	})[0]
	if after.ID != before.ID || after.LastExit == nil || after.LastExit.Code != 137 {
		t.Errorf("the row is %+v", after)
	}
	remove(t, e, sink, w)
}

func testLock(t *testing.T, m *machine) {
	m.opened(t, nil)
	if e, err := New(context.Background(), m.config(enginetest.NewRecorder())); err == nil {
		must(t, e.Close())
		t.Error("two engines may use the same folder")
	} else if !strings.Contains(err.Error(), "another process") {
		t.Errorf("the error does not say what is wrong: %v", err)
	}
}

func testLeftovers(t *testing.T, m *machine) {
	ctx := context.Background()
	e, _ := m.opened(t, nil)
	j := engine.Job{ID: platform.NewID(), Image: enginetest.Image, Args: []string{"probe", "stubborn"}, Outside: true, Output: io.Discard}
	must(t, e.createJob(ctx, j)) // as far as a process gets that is killed then
	if _, err := e.startTask(ctx, jobID(j), cio.NullIO); err != nil {
		t.Fatal(err)
	}
	must(t, e.Close())
	if _, err := os.Stat(filepath.Join(m.netns(), j.ID)); err != nil {
		t.Fatalf("the job has no sandbox: %v", err)
	}
	again, _ := m.opened(t, nil)
	if _, err := again.client.LoadContainer(ctx, jobID(j)); !errdefs.IsNotFound(err) {
		t.Errorf("the job is still there: %v", err)
	}
	if left := newIslands(m.netns()).left(t); len(left) > 0 {
		t.Errorf("sandboxes %v", left)
	}
	if _, err := os.Stat(again.filesDir(jobID(j))); !os.IsNotExist(err) {
		t.Errorf("its files are still there: %v", err)
	}
}

// testReboot takes away what a restart of the machine takes away: processes,
// run folder, sandboxes.
func testReboot(t *testing.T, m *machine) {
	ctx := context.Background()
	e, sink := m.opened(t, nil)
	w := workload("probe wait", 1, 2)
	must(t, e.Apply(ctx, w))
	before := sink.AwaitNumbers(t, w.ID, 1, 2)
	must(t, e.Close())
	cl, err := m.config(nil).connect(ctx)
	must(t, err)
	gone := &Engine{cfg: m.config(nil), client: cl}
	for _, i := range before {
		must(t, gone.deleteTask(ctx, i.ID))
		must(t, removeNetns(i.NetnsPath))
	}
	must(t, cl.Close())
	must(t, m.config(nil).daemon().Stop())
	must(t, os.RemoveAll(filepath.Join(m.dir, "run")))

	var found []platform.Instance
	again, rows := m.opened(t, func(c *Config) {
		sink := c.Sink.(*enginetest.Recorder)
		c.Found = func() { found = sink.Rows(w.ID) }
	})
	if len(found) != 2 {
		t.Fatalf("found %+v", found)
	}
	for _, i := range found {
		// Names and routes are served now, and others may get these addresses.
		if i.NetnsPath != "" || i.PrivateAddr.IsValid() || i.OutsideAddr.IsValid() {
			t.Errorf("a container that is connected to nothing has %s and %s in its row", i.PrivateAddr, i.OutsideAddr)
		}
	}
	after := rows.AwaitNumbers(t, w.ID, 1, 2)
	if !after[0].PrivateAddr.IsValid() {
		t.Errorf("the row has no address again: %+v", after[0])
	}
	if after[0].ID != before[0].ID || after[0].Restarts != 0 || after[0].LastExit != nil {
		t.Errorf("the row is %+v, before %+v", after[0], before[0])
	}
	remove(t, again, rows, w)
}

// testNetworkLost: others may get the addresses of a container whose network
// cannot be taken over, although it runs.
func testNetworkLost(t *testing.T, m *machine) {
	ctx := context.Background()
	e, sink := m.opened(t, nil)
	w := workload("probe wait", 1, 2)
	must(t, e.Apply(ctx, w))
	before := sink.AwaitNumbers(t, w.ID, 1, 2)
	must(t, e.Close())
	must(t, removeNetns(before[0].NetnsPath))

	again, rows := m.opened(t, nil)
	after := rows.AwaitNumbers(t, w.ID, 1, 2)
	if after[0].PrivateAddr.IsValid() || after[0].NetnsPath != "" || !after[0].StartedAt.Equal(before[0].StartedAt) {
		t.Errorf("the row is %+v, want the same process without addresses", after[0])
	}
	if after[1].PrivateAddr != before[1].PrivateAddr {
		t.Errorf("the row of the other one is %+v, was %+v", after[1], before[1])
	}
	// Its next start connects it.
	must(t, again.Signal(ctx, after[0].ID, syscall.SIGKILL))
	rows.Await(t, w.ID, "the restart", func(all []platform.Instance) bool {
		return all[0].Restarts > 0 && all[0].State == platform.InstanceRunning && all[0].PrivateAddr.IsValid()
	})
	remove(t, again, rows, w)
}

// What ended while nobody looked, or waits for its next start, is connected
// still: its name goes on.
func TestAContainerWithoutAProcessKeepsItsAddresses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	bound := filepath.Join(t.TempDir(), "ns")
	must(t, makeNetns(Sandbox{NetnsPath: bound}))
	t.Cleanup(func() { must(t, removeNetns(bound)) })
	empty := filepath.Join(t.TempDir(), "empty") // a run folder that is kept over a reboot
	must(t, os.WriteFile(empty, nil, 0o600))
	for name, tt := range map[string]struct {
		path  string
		found foundProcess
		keeps bool
	}{
		"ended":                     {bound, foundProcess{stopped: true}, true},
		"waits for its next start":  {bound, foundProcess{}, true},
		"the machine was restarted": {empty, foundProcess{}, false},
		"with a new run folder":     {filepath.Join(t.TempDir(), "none"), foundProcess{}, false},
	} {
		for _, once := range []*onceRecord{nil, {}} {
			r := newRecord(workload("probe wait", 1), 1, "test", time.Now())
			r.Once = once
			r.Instance.State = platform.InstanceCrashed
			want := Sandbox{tt.path, netip.MustParseAddr("10.240.0.1"), netip.MustParseAddr("172.17.0.2")}
			r.Instance.NetnsPath, r.Instance.PrivateAddr, r.Instance.OutsideAddr = want.NetnsPath, want.PrivateAddr, want.OutsideAddr
			if !tt.keeps {
				want = Sandbox{}
			}
			e := &Engine{ctx: t.Context()}
			k := newKeeper(e, r)
			e.adopt(k, tt.found)
			if got := k.record().sandbox(); got != want {
				t.Errorf("%s (%+v): it has %+v, want %+v", name, once, got, want)
			}
		}
	}
}

func testAddress(t *testing.T, m *machine) {
	d := Daemon{DataDir: filepath.Join(m.dir, "data", "other"), RunDir: filepath.Join(m.dir, "run", "other"), Log: m.config(nil).Log}
	must(t, d.Ensure(context.Background()))
	t.Cleanup(func() { must(t, d.Stop()) })
	pid := d.PID()
	must(t, d.Ensure(context.Background()))
	if pid == 0 || d.PID() != pid {
		t.Errorf("the daemon has pid %d, after a second Ensure %d", pid, d.PID())
	}
	e, sink := m.opened(t, func(c *Config) { c.Address = d.Address() })
	must(t, e.ImportLayout(context.Background(), m.image, enginetest.Image))
	w := workload("probe wait", 1)
	must(t, e.Apply(context.Background(), w))
	sink.AwaitNumbers(t, w.ID, 1)
	remove(t, e, sink, w)
	if _, err := New(context.Background(), Config{Address: "/no/such/socket", DataDir: "relative"}); err == nil {
		t.Error("a relative folder is accepted")
	}
}

func testMany(t *testing.T, m *machine) {
	network := newIslands(m.netns())
	network.lasts = 50 * time.Millisecond
	e, sink := m.opened(t, func(c *Config) { c.Network = network })
	w, one := workload("probe wait", platform.Numbers(30)...), workload("probe wait", 1)
	began := time.Now()
	must(t, e.Apply(context.Background(), w))
	must(t, e.Apply(context.Background(), one))
	sink.AwaitNumbers(t, one.ID, 1)
	alone := time.Since(began)
	// The line is of starts before; another app has one of its own.
	if n := e.count(w.ID, (*keeper).runs); n > 20 {
		t.Errorf("the one container of an app started after %d of another", n)
	}
	rows := sink.AwaitNumbers(t, w.ID, w.Numbers...)
	t.Logf("30 containers run after %v, the single one of another app after %v", time.Since(began), alone)
	seen := map[netip.Addr]bool{}
	for _, i := range rows {
		if seen[i.PrivateAddr] {
			t.Errorf("address %v twice", i.PrivateAddr)
		}
		seen[i.PrivateAddr] = true
	}
	must(t, e.Remove(context.Background(), w.ID))
	remove(t, e, sink, one)
	if n := e.count(w.ID, (*keeper).stopAsked); n < 10 {
		t.Errorf("the one container of an app was removed when only %d of another were left", n)
	}
	sink.AwaitGone(t, w.ID)
	// A start would have to wait for all of them.
	if network.most > endsAtOnce {
		t.Errorf("%d were removed at the same time, want %d at most", network.most, endsAtOnce)
	}
}

// count says how many containers of a workload are such.
func (e *Engine) count(workloadID string, such func(*keeper) bool) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, k := range e.keepersOf(workloadID) {
		if such(k) {
			n++
		}
	}
	return n
}

func testTini(t *testing.T, m *machine) {
	if _, err := os.Stat("/usr/bin/tini"); err != nil {
		t.Skip("needs the package tini: the test image takes it from the machine")
	}
	e, sink := m.opened(t, nil)
	w := workload("probe wait & wait", 1) // bash stays, and has no handler
	w.StopGrace = time.Minute
	must(t, e.Apply(context.Background(), w))
	sink.AwaitNumbers(t, w.ID, 1)
	for !slices.ContainsFunc(m.log(t, w.AppID), func(l enginetest.LogLine) bool { return l.Text == "ready" }) {
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	remove(t, e, sink, w)
	if d := time.Since(began); d >= w.StopGrace {
		t.Errorf("it ended after %v, by SIGKILL", d)
	}
}
