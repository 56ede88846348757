package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
)

// Config says with what an Engine works. Everything without "optional" must
// be set.
type Config struct {
	// Address is the socket of a containerd that runs already; "" means a
	// private one (see Daemon) that is started when needed.
	Address string
	// Namespace is the namespace inside containerd. Every container in it
	// that has our mark is managed. Optional: "atoll".
	Namespace string
	// DataDir and RunDir are folders of this engine alone.
	DataDir string
	RunDir  string
	// LogDir is where containers' logs go, one folder per app.
	LogDir string
	// LoggerPath is the program cmd/atoll-logger, as an absolute path.
	LoggerPath string
	// CgroupParent is the cgroup below which all containers live, such as
	// "/atoll".
	CgroupParent string
	// Node is the name of this machine in instances.
	Node string
	Sink engine.Sink
	// Found is called once, by New, as soon as the sink has every container
	// there is, in the state that it is in. Their networks are as they were,
	// and looked after next. Optional.
	Found func()
	// Network connects the containers.
	Network Network
	// ResolvConf is the content of /etc/resolv.conf in every container.
	ResolvConf string
	// Entry are the arguments in front of a workload's command and kind.
	// Optional: DefaultEntry.
	Entry []string
	Log   *slog.Logger
}

const (
	// startsAtOnce bounds how many containers are created at the same time;
	// more would only make each of them slower.
	startsAtOnce = 8
	// endsAtOnce bounds how many are noted down, signalled or removed at the
	// same time. Starts would have to wait behind all of them when a large app
	// goes: each of these steps is a write to containerd's database, which
	// takes one at a time, or starts a process.
	endsAtOnce = 3
	// callTime bounds every single piece of work with containerd. A call
	// waits that long for a containerd that is being restarted.
	callTime = 60 * time.Second
)

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Images = (*Engine)(nil)
)

// Engine holds workloads with containerd. It is safe for concurrent use.
type Engine struct {
	cfg    Config
	client *client.Client
	host   host
	images *imageCache
	lock   *os.File
	starts *turns
	ends   *turns
	groups groupLocks
	log    *slog.Logger

	// ctx ends with Close; all goroutines are counted in work.
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	keepers map[string]*keeper // by instance id
	jobs    map[string]bool
	closed  bool
}

var errClosed = errors.New("the engine is closed")

// New connects to containerd (and starts it when it is to be a private one),
// takes over everything that runs, and returns when the sink knows all of
// it. Only one Engine may use a RunDir at a time.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = "atoll"
	}
	if cfg.Entry == nil {
		cfg.Entry = DefaultEntry
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, starts: newTurns(startsAtOnce), ends: newTurns(endsAtOnce), log: cfg.Log,
		keepers: map[string]*keeper{}, jobs: map[string]bool{}}
	if err := e.open(ctx); err != nil {
		return nil, err
	}
	if err := e.recover(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot take over the containers that run: %w", err), e.Close())
	}
	return e, nil
}

// Apply implements engine.Engine.
func (e *Engine) Apply(_ context.Context, w platform.Workload) error {
	if err := checkWorkload(w); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed
	}
	held := map[int]bool{}
	for _, k := range e.keepersOf(w.ID) {
		switch {
		case !w.Has(k.number()):
			k.askStop()
		case !k.stopAsked():
			held[k.number()] = true
			k.setActive(w.Active)
			k.setGroup(w.Group)
		}
	}
	var missing []int
	for _, n := range w.Numbers {
		if !held[n] {
			held[n] = true
			missing = append(missing, n)
		}
	}
	for i, group := range e.chooseGroups(w, len(missing)) {
		r := newRecord(w, missing[i], e.cfg.Node, time.Now())
		r.Group = group
		e.add(newKeeper(e, r))
	}
	return nil
}

// Remove implements engine.Engine.
func (e *Engine) Remove(_ context.Context, workloadID string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed
	}
	for _, k := range e.keepersOf(workloadID) {
		k.askStop()
	}
	return nil
}

// Workloads implements engine.Engine. Workloads that are being stopped are
// in the list until their last container is gone.
func (e *Engine) Workloads(context.Context) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ids []string
	for _, k := range e.keepers {
		ids = append(ids, k.workloadID())
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// Containers lists every container and job there is, by the id that Network
// knows it by, and whether a process of it runs. Whatever has a sandbox is in
// the list.
func (e *Engine) Containers() map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := map[string]bool{}
	for id, k := range e.keepers {
		all[id] = k.runs()
	}
	for id := range e.jobs {
		all[id] = true
	}
	return all
}

// Signal implements engine.Engine.
func (e *Engine) Signal(ctx context.Context, instanceID string, sig syscall.Signal) error {
	e.mu.Lock()
	k := e.keepers[instanceID]
	e.mu.Unlock()
	if k == nil || !k.runs() {
		return engine.ErrNoInstance
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := e.kill(ctx, instanceID, sig); err != nil {
		if errdefs.IsNotFound(err) {
			return engine.ErrNoInstance
		}
		return fmt.Errorf("cannot send signal %v: %w", sig, err)
	}
	return nil
}

// Close implements engine.Engine: it ends running jobs, and lets go of
// everything else.
func (e *Engine) Close() error {
	e.mu.Lock()
	closed := e.closed
	e.closed = true
	e.mu.Unlock()
	if closed {
		return nil
	}
	e.cancel()
	e.work.Wait()
	err := e.client.Close()
	return errors.Join(err, e.lock.Close())
}

// Private

func (c Config) check() error {
	for name, value := range map[string]string{"DataDir": c.DataDir, "RunDir": c.RunDir, "LogDir": c.LogDir,
		"LoggerPath": c.LoggerPath, "CgroupParent": c.CgroupParent} {
		if !filepath.IsAbs(value) {
			return fmt.Errorf("containerd engine: %s must be an absolute path, not %q", name, value)
		}
	}
	if c.Sink == nil || c.Network == nil || c.Log == nil {
		return errors.New("containerd engine: Sink, Network and Log must be set")
	}
	if err := unix.Access(c.LoggerPath, unix.X_OK); err != nil {
		return fmt.Errorf("the log writer %s cannot be run (it comes with Atoll; is the installation complete?): %w", c.LoggerPath, err)
	}
	return nil
}

func checkWorkload(w platform.Workload) error {
	for name, value := range map[string]string{"ID": w.ID, "AppID": w.AppID, "Type": w.Type, "Image": w.Image, "Command": w.Command} {
		if value == "" && len(w.Numbers) > 0 || name == "ID" && value == "" {
			return fmt.Errorf("workload %s has no %s", w.ID, name)
		}
	}
	for _, n := range w.Numbers {
		if n < 1 {
			return fmt.Errorf("workload %s: containers are counted from 1, not %d", w.ID, n)
		}
	}
	return nil
}

// daemon is the private containerd of cfg.
func (c Config) daemon() Daemon {
	return Daemon{DataDir: filepath.Join(c.DataDir, "containerd"), RunDir: filepath.Join(c.RunDir, "containerd"), Log: c.Log}
}

// open takes the lock, finds out about the host, and connects.
func (e *Engine) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(e.cfg.RunDir, 0o711); err != nil {
		return fmt.Errorf("cannot make the run folder: %w", err)
	}
	if e.lock, err = lockDir(e.cfg.RunDir); err != nil {
		return err
	}
	if e.host, err = probeHost(); err != nil {
		return errors.Join(err, e.lock.Close())
	}
	if e.client, err = e.cfg.connect(ctx); err != nil {
		return errors.Join(err, e.lock.Close())
	}
	e.images = newImageCache(e.client)
	e.ctx, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if e.cfg.Address == "" {
		e.work.Go(func() { e.supervise(e.cfg.daemon()) })
	}
	return nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "engine.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another process manages the containers of %s; stop it first, or use another run folder: %w", dir, err)
	}
	return f, nil
}

// connect returns a client of a containerd that answers.
func (c Config) connect(ctx context.Context) (*client.Client, error) {
	address := c.Address
	if address == "" {
		if err := c.daemon().Ensure(ctx); err != nil {
			return nil, err
		}
		address = c.daemon().Address()
	}
	cl, err := client.New(address, client.WithDefaultNamespace(c.Namespace),
		client.WithTimeout(time.Second), // bounds the pauses between attempts to connect again
		client.WithCallOpts([]grpc.CallOption{grpc.WaitForReady(true)}))
	if err != nil {
		return nil, fmt.Errorf("cannot use containerd at %s: %w", address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, daemonStartTime)
	defer cancel()
	if _, err := cl.Version(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("containerd at %s does not answer; is it running, and may this user use it? %w", address, err), cl.Close())
	}
	return cl, nil
}

// supervise starts a private containerd again when it has died.
func (e *Engine) supervise(d Daemon) {
	const look = 250 * time.Millisecond
	for pause(e.ctx, look) {
		if _, ok := d.running(); ok {
			continue
		}
		e.log.Warn("containerd has ended; starting it again")
		if err := d.Ensure(e.ctx); err != nil && e.ctx.Err() == nil {
			e.log.Error("cannot start containerd again; containers go on but cannot be started or stopped", "error", err)
			pause(e.ctx, 2*time.Second)
		}
	}
}

// add takes a new keeper in, reports its row and starts it. e.mu is held.
func (e *Engine) add(k *keeper) {
	k.publish(nil)
	e.keep(k, nil)
}

// keep takes a keeper in and starts it. e.mu is held.
func (e *Engine) keep(k *keeper, exited <-chan ending) {
	e.keepers[k.id] = k
	e.work.Go(func() { k.run(e.ctx, exited) })
}

func (e *Engine) forget(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.keepers, id)
}

// keepersOf returns the keepers of a workload. e.mu is held.
func (e *Engine) keepersOf(workloadID string) []*keeper {
	var found []*keeper
	for _, k := range e.keepers {
		if k.workloadID() == workloadID {
			found = append(found, k)
		}
	}
	return found
}
