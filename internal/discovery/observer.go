package discovery

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// Config is what an Observer needs. Roster is required.
type Config struct {
	Roster *roster.Roster
	// File is where it is noted who is ready, for the next process of this
	// server, see Recall. It should not outlive a boot. "" means nowhere.
	File string
	// Log defaults to slog.Default().
	Log *slog.Logger
	// Dial makes the connections that test $PORT; nil means from the network
	// namespace of this process. Tests may set it.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Open gives access to the sockets of a network namespace; nil means
	// sock_diag. Tests may set it.
	Open func(netnsPath string) (Namespace, error)
	// SettleTime and BootSettleTime default to those of platform.
	SettleTime     time.Duration
	BootSettleTime time.Duration
}

// Namespace is a container's network namespace.
type Namespace interface {
	// Sockets returns the sockets that wait for traffic.
	Sockets() ([]Socket, error)
	Close() error
}

// Socket is one socket that waits for traffic.
type Socket struct {
	platform.Listener
	// Inode tells it from an earlier socket with the same address.
	Inode uint32
}

// Observer watches the containers of the roster. Make one with New, then Run
// it.
type Observer struct {
	cfg Config
}

// New checks the configuration.
func New(cfg Config) (*Observer, error) {
	if cfg.Roster == nil {
		return nil, errors.New("cannot observe containers: there is no roster")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Open == nil {
		cfg.Open = OpenNamespace
	}
	if cfg.SettleTime == 0 {
		cfg.SettleTime = platform.SettleTime
	}
	if cfg.BootSettleTime == 0 {
		cfg.BootSettleTime = max(platform.BootSettleTime, cfg.SettleTime)
	}
	return &Observer{cfg: cfg}, nil
}

// process identifies what is watched: one life of one container.
type process struct {
	id      string
	started int64
	netns   string
}

// watch is a watcher at work.
type watch struct {
	watcher *watcher
	stop    context.CancelFunc
	leaving bool // the watcher was told
}

// Run watches until ctx ends and leaves nothing behind then. Each process
// has a goroutine of its own, so that one that is slow to look at delays no
// other.
func (o *Observer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if o.cfg.File != "" {
		wg.Go(func() { o.remember(ctx) })
	}
	watched := map[process]*watch{}
	defer func() {
		for _, w := range watched {
			w.stop()
		}
	}()
	for {
		rows, changed := o.cfg.Roster.Snapshot()
		present := make(map[process]bool, len(rows))
		for _, inst := range rows {
			if !observable(inst) {
				continue
			}
			key := process{inst.ID, inst.StartedAt.UnixNano(), inst.NetnsPath}
			present[key] = true
			if watched[key] == nil {
				watching, stop := context.WithCancel(ctx)
				w := newWatcher(o.cfg, inst)
				watched[key] = &watch{stop: stop, watcher: w}
				wg.Go(func() { w.run(watching) })
			}
			if w := watched[key]; inst.State == platform.InstanceDraining && !w.leaving {
				w.leaving = true
				close(w.watcher.leaving)
			}
		}
		for key, w := range watched {
			if !present[key] {
				w.stop()
				delete(watched, key)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// observable: the listeners of a draining container still matter, for they
// decide whether its stop has to wait for clients.
func observable(inst platform.Instance) bool {
	return inst.NetnsPath != "" &&
		(inst.State == platform.InstanceRunning || inst.State == platform.InstanceDraining)
}
