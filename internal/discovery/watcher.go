package discovery

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// How often a process is looked at. One look costs about 0.1 ms of CPU.
const (
	// Until it is ready: names and routes follow from it, so that it is found
	// ready at most briefly late in its first minute. What is not ready by
	// then has a fault, and is looked at every slowest.
	fastest = 25 * time.Millisecond
	brief   = 100 * time.Millisecond
	slowest = 500 * time.Millisecond
	// Afterwards: after a change every restless, slowing down to restful.
	restless = time.Second
	restful  = 5 * time.Second
	// connectTimeout bounds the test of $PORT.
	connectTimeout = time.Second
)

// watcher observes one process.
type watcher struct {
	cfg  Config
	inst platform.Instance
	// started is when the process started, or was first seen if the roster
	// does not know.
	started time.Time
	seen    platform.Observation
	// ns is nil until it could be opened; complained keeps one trouble from
	// filling the log.
	ns         Namespace
	complained bool
	// clients are sockets that look like those of clients, see listeners.
	clients map[uint32]time.Time
	// leaving is closed when the container begins to drain.
	leaving chan struct{}
}

func newWatcher(cfg Config, inst platform.Instance) *watcher {
	w := &watcher{cfg: cfg, inst: inst, started: inst.StartedAt, clients: map[uint32]time.Time{}, leaving: make(chan struct{})}
	if w.started.IsZero() {
		w.started = time.Now()
	}
	// Go on from what is known of this very process.
	if o := inst.Observation; o.Ready && !o.ReadyAt.Before(inst.StartedAt) {
		w.seen = o
	}
	w.seen.Leaving, w.seen.Served = false, inst.Observation.Served
	return w
}

// run looks again and again until ctx ends.
func (w *watcher) run(ctx context.Context) {
	defer func() {
		if w.ns != nil {
			w.ns.Close()
		}
	}()
	began := time.Now()
	pause := time.Duration(0)
	leaving := w.leaving
	for {
		changed := w.look(ctx)
		if ctx.Err() != nil {
			return
		}
		pause = w.next(pause, changed, time.Since(began))
		select {
		case <-ctx.Done():
			return
		case <-leaving:
			leaving = nil
		case <-time.After(pause):
		}
	}
}

// next says how long to wait before the next look.
func (w *watcher) next(last time.Duration, changed bool, age time.Duration) time.Duration {
	if w.seen.Ready {
		if changed {
			return restless
		}
		return min(max(last+last/2, restless), restful)
	}
	pause := min(max(age/100, fastest), brief)
	if age > time.Minute {
		pause = slowest
	}
	if !platform.IsPublic(w.inst.Type) {
		if left := w.cfg.SettleTime - time.Since(w.started); left > 0 {
			pause = min(pause, left)
		}
	}
	return pause
}

// look observes once, writes the result, and reports whether it differs from
// the last.
func (w *watcher) look(ctx context.Context) bool {
	leaving := w.leaves() // before the look, which is to be newer
	now := time.Now()
	o := w.seen
	o.Listeners = w.listeners(now)
	o.Leaving = leaving && !w.complained
	o.Served = o.Served || w.serves(o.Listeners)
	if !o.Ready && w.ready(ctx, o.Listeners, now) {
		o.Ready, o.ReadyAt = true, now
		w.cfg.Log.Debug("A container is ready", "container", w.inst.Label(), "app", w.inst.AppName, "after", now.Sub(w.started))
	}
	changed := o.Ready != w.seen.Ready || !slices.Equal(o.Listeners, w.seen.Listeners)
	w.seen = o
	// Written even when nothing changed: the row may be a new one for the
	// same process.
	if ctx.Err() == nil {
		w.cfg.Roster.Observe(w.inst.ID, w.inst.StartedAt, o)
	}
	return changed
}

// leaves reports whether the container drains.
func (w *watcher) leaves() bool {
	select {
	case <-w.leaving:
		return true
	default:
		return false
	}
}

// ready applies decision 7 of the architecture. A type that has listened
// before takes its time to boot: were it ready after the short settle time, a
// restart would end in refused connections.
func (w *watcher) ready(ctx context.Context, listeners []platform.Listener, now time.Time) bool {
	if platform.IsPublic(w.inst.Type) && w.inst.Kind == platform.KindApp {
		return w.accepts(ctx)
	}
	inst := w.inst
	inst.Observation.Listeners = listeners
	ran := now.Sub(w.started)
	switch {
	case inst.ListensPrivately() || ran >= w.cfg.BootSettleTime:
		return true
	case ran < w.cfg.SettleTime:
		return false
	}
	return inst.Kind != platform.KindApp || !w.cfg.Roster.Served(inst.AppID, inst.Type)
}

// serves reports whether members can connect to one of the listeners, without
// those that may be clients.
func (w *watcher) serves(listeners []platform.Listener) bool {
	inst := w.inst
	inst.Observation.Listeners = slices.DeleteFunc(slices.Clone(listeners), mayBeClient)
	return inst.ListensPrivately()
}

// accepts reports whether $PORT takes a connection (CL-2). Sockets alone
// would not do: it shows that the way from here to there is open, too.
func (w *watcher) accepts(ctx context.Context) bool {
	if !w.inst.OutsideAddr.IsValid() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := w.cfg.Dial(ctx, "tcp", net.JoinHostPort(w.inst.OutsideAddr.String(), strconv.Itoa(platform.Port)))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Sockets that clients use for UDP without connecting them are bound to all
// addresses and to a port of this range, and can't be told from a server's
// (musl asks DNS questions that way). Only one that lives for clientAge
// counts, so that a DNS question makes nobody ready.
const (
	firstClientPort = 32768
	lastClientPort  = 60999
	clientAge       = 2 * time.Second
)

func mayBeClient(l platform.Listener) bool {
	return l.Protocol == "udp" && l.Addr.IsUnspecified() && l.Port >= firstClientPort && l.Port <= lastClientPort
}

// listeners returns what the process listens on, in the order of the
// roster; the last known when it can't be seen now.
func (w *watcher) listeners(now time.Time) []platform.Listener {
	sockets, err := w.sockets()
	if err != nil {
		if !w.complained {
			w.cfg.Log.Warn("Cannot see the sockets of a container", "container", w.inst.Label(), "app", w.inst.AppName, "error", err)
		}
		w.complained = true
		return w.seen.Listeners
	}
	w.complained = false
	var out []platform.Listener
	clients := map[uint32]time.Time{}
	for _, s := range sockets {
		if mayBeClient(s.Listener) {
			since, known := w.clients[s.Inode]
			if !known {
				since = now
			}
			clients[s.Inode] = since
			if now.Sub(since) < clientAge {
				continue
			}
		}
		out = append(out, s.Listener)
	}
	w.clients = clients
	slices.SortFunc(out, func(a, b platform.Listener) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol), a.Addr.Compare(b.Addr))
	})
	// Several processes may share a port (SO_REUSEPORT).
	return slices.Compact(out)
}

func (w *watcher) sockets() ([]Socket, error) {
	if w.ns == nil {
		ns, err := w.cfg.Open(w.inst.NetnsPath)
		if err != nil {
			return nil, err
		}
		w.ns = ns
	}
	sockets, err := w.ns.Sockets()
	if err != nil {
		w.ns.Close()
		w.ns = nil
	}
	return sockets, err
}
