package discovery

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// machine stands for the kernel: sockets by namespace, and addresses that
// accept connections.
type machine struct {
	mu      sync.Mutex
	sockets map[string][]Socket
	broken  map[string]error
	accepts map[string]bool
	dials   atomic.Int32
	open    atomic.Int32
}

func newMachine() *machine {
	return &machine{sockets: map[string][]Socket{}, broken: map[string]error{}, accepts: map[string]bool{}}
}

type fakeNamespace struct {
	m    *machine
	path string
}

func (n fakeNamespace) Sockets() ([]Socket, error) {
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	return slices.Clone(n.m.sockets[n.path]), n.m.broken[n.path]
}

func (n fakeNamespace) Close() error {
	n.m.open.Add(-1)
	return nil
}

func (m *machine) Open(path string) (Namespace, error) {
	m.open.Add(1)
	return fakeNamespace{m, path}, nil
}

func (m *machine) Dial(_ context.Context, _, addr string) (net.Conn, error) {
	m.dials.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.accepts[addr] {
		return nil, errors.New("refused")
	}
	here, there := net.Pipe()
	there.Close()
	return here, nil
}

func (m *machine) listen(path string, sockets ...Socket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sockets[path] = sockets
}

func (m *machine) fail(path string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken[path] = err
}

func (m *machine) accept(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accepts[addr] = true
}

func socket(protocol, at string, inode ...uint32) Socket {
	ap := netip.MustParseAddrPort(at)
	s := Socket{Listener: platform.Listener{Protocol: protocol, Addr: ap.Addr(), Port: ap.Port()}}
	if len(inode) > 0 {
		s.Inode = inode[0]
	}
	return s
}

func instance(id, processType string) platform.Instance {
	return platform.Instance{
		ID: id, AppName: "shop-app", Type: processType, Kind: platform.KindApp, Number: 1, Active: true,
		State: platform.InstanceRunning, StartedAt: time.Now(), NetnsPath: "/ns/" + id,
		PrivateAddr: netip.MustParseAddr("10.240.0.2"), OutsideAddr: netip.MustParseAddr("172.17.0.2"),
	}
}

// observe runs an observer until the test ends.
func observe(t *testing.T, m *machine, changes ...func(*Config)) (*roster.Roster, context.CancelFunc) {
	t.Helper()
	r := roster.New()
	cfg := Config{Roster: r, Dial: m.Dial, Open: m.Open, SettleTime: time.Hour, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range changes {
		c(&cfg)
	}
	o, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

// seen waits until the observation of an instance is as wanted.
func seen(t *testing.T, r *roster.Roster, id, what string, ok func(platform.Observation) bool) platform.Observation {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		_, changed := r.Snapshot()
		inst, _ := r.Get(id)
		if ok(inst.Observation) {
			return inst.Observation
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("waited in vain for %s; last seen: %+v", what, inst.Observation)
		}
	}
}

func ready(o platform.Observation) bool { return o.Ready }

func TestWebIsReadyWhenItsPortAccepts(t *testing.T) {
	m := newMachine()
	r, _ := observe(t, m)
	m.listen("/ns/w", socket("tcp", "0.0.0.0:8080"))
	r.Put(instance("w", "web"))
	o := seen(t, r, "w", "its listener", func(o platform.Observation) bool { return len(o.Listeners) == 1 })
	if o.Ready {
		t.Error("ready although the port takes no connection")
	}
	m.accept("172.17.0.2:8080")
	o = seen(t, r, "w", "ready", ready)
	if inst, _ := r.Get("w"); o.ReadyAt.Before(inst.StartedAt) {
		t.Errorf("ready at %v, started at %v", o.ReadyAt, inst.StartedAt)
	}
}

func TestPrivateTypesAreReadyWhenMembersCanReachThem(t *testing.T) {
	for at, want := range map[string]bool{
		"tcp 10.240.0.2:3000": true, "tcp 0.0.0.0:3000": true, "tcp [::]:3000": true, "udp 10.240.0.2:53": true, "udp 0.0.0.0:8125": true,
		"tcp 127.0.0.1:3000": false, "tcp 172.17.0.2:3000": false, "tcp [::1]:3000": false, "udp 0.0.0.0:45000": false,
	} {
		t.Run(at, func(t *testing.T) {
			m := newMachine()
			r, _ := observe(t, m)
			protocol, addr, _ := strings.Cut(at, " ")
			m.listen("/ns/a", socket(protocol, addr), socket("tcp", "127.0.0.1:1"))
			r.Put(instance("a", "api"))
			o := seen(t, r, "a", "a listener", func(o platform.Observation) bool { return len(o.Listeners) > 0 })
			if o.Ready != want {
				t.Errorf("ready is %v", o.Ready)
			}
			if m.dials.Load() != 0 {
				t.Error("a private type was connected to")
			}
		})
	}
}

func TestWorkerIsReadyWhenItHasSettled(t *testing.T) {
	m := newMachine()
	const settle = 300 * time.Millisecond
	r, _ := observe(t, m, func(c *Config) { c.SettleTime = settle })
	inst := instance("k", "worker")
	r.Put(inst)
	if o := seen(t, r, "k", "ready", ready); o.ReadyAt.Sub(inst.StartedAt) < settle {
		t.Errorf("ready %v after its start, want %v", o.ReadyAt.Sub(inst.StartedAt), settle)
	}
	// Found running for long already, as after a start of the server.
	old := instance("old", "worker")
	old.StartedAt = time.Now().Add(-time.Minute)
	r.Put(old)
	seen(t, r, "old", "ready", ready)
}

// A service that boots for longer than the settle time is not in the names while
// it refuses connections, once it is known for a service.
func TestATypeThatHasServedMayBootForLong(t *testing.T) {
	m := newMachine()
	const settle, boot = 100 * time.Millisecond, time.Second
	r, _ := observe(t, m, func(c *Config) { c.SettleTime, c.BootSettleTime = settle, boot })
	put := func(id string, change func(*platform.Instance)) platform.Instance {
		inst := instance(id, "api")
		inst.AppID = "shop"
		if change != nil {
			change(&inst)
		}
		r.Put(inst)
		return inst
	}
	first := put("first", nil)
	if o := seen(t, r, "first", "ready", ready); o.Served {
		t.Error("it listens nowhere")
	}
	m.listen("/ns/first", socket("udp", "0.0.0.0:40000", 1), socket("tcp", "127.0.0.1:3000"))
	time.Sleep(settle) // a look in between finds no service
	m.listen("/ns/first", socket("tcp", "0.0.0.0:3000"))
	seen(t, r, "first", "its listener", func(o platform.Observation) bool { return o.Served })

	second := put("second", nil)
	once := put("once", func(i *platform.Instance) { i.Kind = platform.KindOneOff })
	worker := put("worker", func(i *platform.Instance) { i.Type = "worker" })
	for inst, want := range map[*platform.Instance]time.Duration{&once: settle, &worker: settle, &second: boot} {
		if o := seen(t, r, inst.ID, "ready", ready); o.ReadyAt.Sub(inst.StartedAt) < want || o.ReadyAt.Sub(inst.StartedAt) > want+boot/2 {
			t.Errorf("%s was ready after %v, want %v", inst.ID, o.ReadyAt.Sub(inst.StartedAt), want)
		}
	}

	// Its own next process is known as well, and ready when it listens.
	r.Delete("second")
	m.listen("/ns/first")
	first.StartedAt = time.Now()
	r.Put(first)
	time.Sleep(3 * settle)
	m.listen("/ns/first", socket("tcp", "0.0.0.0:3000"))
	if o := seen(t, r, "first", "ready again", ready); len(o.Listeners) == 0 {
		t.Error("ready before it listened")
	}
}

// Looks at who is ready are seconds apart. One that began to listen since the
// last has clients all the same.
func TestADrainingContainerIsLookedAtOnceMore(t *testing.T) {
	m := newMachine()
	r, _ := observe(t, m, func(c *Config) { c.SettleTime = time.Nanosecond })
	inst := instance("a", "api")
	r.Put(inst)
	seen(t, r, "a", "ready", ready)
	m.listen("/ns/a", socket("tcp", "0.0.0.0:3000"))
	m.fail("/ns/a", errors.New("no sockets just now"))
	inst.State = platform.InstanceDraining
	r.Put(inst)
	time.Sleep(50 * time.Millisecond)
	if row, _ := r.Get("a"); row.Observation.Leaving {
		t.Fatal("a look that failed counts")
	}
	m.fail("/ns/a", nil)
	seen(t, r, "a", "the look", func(o platform.Observation) bool { return o.Leaving })
	if row, _ := r.Get("a"); !row.Reachable() {
		t.Error("its listener was not seen")
	}

	now := instance("b", "worker")
	r.Put(now)
	seen(t, r, "b", "ready", ready)
	now.State = platform.InstanceDraining
	began := time.Now()
	r.Put(now)
	seen(t, r, "b", "the look", func(o platform.Observation) bool { return o.Leaving })
	if d := time.Since(began); d > restless/2 {
		t.Errorf("it took %v", d)
	}
}

func TestReadyLastsForTheLifeOfTheProcess(t *testing.T) {
	m := newMachine()
	r, _ := observe(t, m)
	m.listen("/ns/a", socket("tcp", "0.0.0.0:3000"))
	inst := instance("a", "api")
	r.Put(inst)
	seen(t, r, "a", "ready", ready)
	m.listen("/ns/a")
	o := seen(t, r, "a", "no listeners", func(o platform.Observation) bool { return len(o.Listeners) == 0 })
	if !o.Ready {
		t.Error("not ready any more")
	}
	// The next process in the same container starts from nothing.
	inst.StartedAt = inst.StartedAt.Add(time.Second)
	r.Put(inst)
	if row, _ := r.Get("a"); row.Observation.Ready {
		t.Fatal("the roster kept the observation of another process")
	}
	m.listen("/ns/a", socket("tcp", "127.0.0.1:9"))
	if o := seen(t, r, "a", "the new listener", func(o platform.Observation) bool { return len(o.Listeners) == 1 }); o.Ready {
		t.Error("the new process is ready because the old one was")
	}
	m.listen("/ns/a", socket("tcp", "10.240.0.2:3000"))
	seen(t, r, "a", "ready again", ready)
}

// A row that tells of an older process, written by an observer that was not
// quick enough to notice, must not make its successor ready.
func TestOldObservationIsNotAdopted(t *testing.T) {
	inst := instance("a", "api")
	for age, want := range map[time.Duration]bool{-time.Second: false, time.Second: true} {
		inst.Observation = platform.Observation{Ready: true, ReadyAt: inst.StartedAt.Add(age)}
		if w := newWatcher(Config{}, inst); w.seen.Ready != want {
			t.Errorf("ready %v after the start: adopted %v", age, w.seen.Ready)
		}
	}
}

func TestListenersAreSortedAndUnique(t *testing.T) {
	m := newMachine()
	r, _ := observe(t, m)
	m.listen("/ns/a", socket("udp", "0.0.0.0:53"), socket("tcp", "10.240.0.2:80"), socket("tcp", "0.0.0.0:53"),
		socket("tcp", "127.0.0.1:80"), socket("tcp", "10.240.0.2:80"))
	r.Put(instance("a", "api"))
	o := seen(t, r, "a", "listeners", func(o platform.Observation) bool { return len(o.Listeners) > 0 })
	want := []platform.Listener{socket("tcp", "0.0.0.0:53").Listener, socket("udp", "0.0.0.0:53").Listener,
		socket("tcp", "10.240.0.2:80").Listener, socket("tcp", "127.0.0.1:80").Listener}
	if diff := cmp.Diff(want, o.Listeners, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOnlyLastingUDPSocketsOfClientPortsCount(t *testing.T) {
	w := newWatcher(Config{Open: newMachine().Open}, instance("a", "api"))
	m := newMachine()
	w.ns = fakeNamespace{m, "ns"}
	now := time.Now()
	for _, step := range []struct {
		after time.Duration
		inode uint32
		want  int
	}{{0, 1, 0}, {time.Second, 2, 0}, {2500 * time.Millisecond, 3, 0}, {clientAge + 2400*time.Millisecond, 3, 0}, {clientAge + 2600*time.Millisecond, 3, 1}} {
		m.listen("ns", socket("udp", "0.0.0.0:40000", step.inode))
		if got := w.listeners(now.Add(step.after)); len(got) != step.want {
			t.Errorf("after %v, socket %d: %v", step.after, step.inode, got)
		}
	}
}

func TestOnlyRunningContainersAreObserved(t *testing.T) {
	m := newMachine()
	r, _ := observe(t, m)
	for id, change := range map[string]func(*platform.Instance){
		"starting": func(i *platform.Instance) { i.State = platform.InstanceStarting },
		"crashed":  func(i *platform.Instance) { i.State = platform.InstanceCrashed },
		"stopping": func(i *platform.Instance) { i.State = platform.InstanceStopping },
		"no netns": func(i *platform.Instance) { i.NetnsPath = "" },
	} {
		inst := instance(id, "api")
		m.listen(inst.NetnsPath, socket("tcp", "0.0.0.0:1"))
		change(&inst)
		r.Put(inst)
	}
	m.listen("/ns/last", socket("tcp", "0.0.0.0:1"))
	r.Put(instance("last", "api"))
	seen(t, r, "last", "ready", ready)
	if n := m.open.Load(); n != 1 {
		t.Errorf("%d namespaces are open, want 1", n)
	}
}

func TestUnreadableNamespaceDoesNotStopTheRest(t *testing.T) {
	m := newMachine()
	m.broken["/ns/w"] = errors.New("no sockets today")
	m.accept("172.17.0.2:8080")
	r, _ := observe(t, m)
	r.Put(instance("w", "web"))
	seen(t, r, "w", "ready", ready)
	m.mu.Lock()
	delete(m.broken, "/ns/w")
	m.mu.Unlock()
	m.listen("/ns/w", socket("tcp", "0.0.0.0:8080"))
	seen(t, r, "w", "listeners", func(o platform.Observation) bool { return len(o.Listeners) == 1 })
}

func TestNothingIsLeftOfContainersThatAreGone(t *testing.T) {
	m := newMachine()
	r, stop := observe(t, m)
	before := runtime.NumGoroutine()
	for round := range 3 {
		for i := range 100 {
			inst := instance(string(rune('a'+i%26))+string(rune('a'+i/26)), "api")
			inst.StartedAt = inst.StartedAt.Add(time.Duration(round))
			m.listen(inst.NetnsPath, socket("tcp", "0.0.0.0:1"))
			r.Put(inst)
		}
		rows, _ := r.Snapshot()
		for _, inst := range rows {
			seen(t, r, inst.ID, "ready", ready)
			r.Delete(inst.ID)
		}
	}
	eventually(t, func() bool { return m.open.Load() == 0 && runtime.NumGoroutine() <= before }, func() string {
		return "everything to be closed"
	})
	r.Put(instance("z", "api"))
	eventually(t, func() bool { return m.open.Load() == 1 }, func() string { return "a namespace to open" })
	stop()
	if n := m.open.Load(); n != 0 {
		t.Errorf("%d namespaces are open after the end", n)
	}
}

func eventually(t *testing.T, ok func() bool, what func() string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestPauses(t *testing.T) {
	w := newWatcher(Config{SettleTime: time.Hour}, instance("a", "api"))
	for age, want := range map[time.Duration]time.Duration{0: fastest, 5 * time.Second: 50 * time.Millisecond, time.Minute: brief, 2 * time.Minute: slowest} {
		if got := w.next(0, false, age); got != want {
			t.Errorf("not ready at the age of %v: %v, want %v", age, got, want)
		}
	}
	w.seen.Ready = true
	pause := w.next(slowest, true, 0)
	if pause != restless {
		t.Errorf("after a change: %v", pause)
	}
	for range 10 {
		pause = w.next(pause, false, 0)
	}
	if pause != restful {
		t.Errorf("at rest: %v", pause)
	}
	short := newWatcher(Config{SettleTime: 5 * time.Millisecond}, instance("a", "worker"))
	if got := short.next(0, false, 0); got > 5*time.Millisecond {
		t.Errorf("must not sleep past the settle time: %v", got)
	}
}
