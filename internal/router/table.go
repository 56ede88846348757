package router

import (
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
)

// table is where requests go, made from one snapshot of the roster and the
// directory and never changed afterwards.
type table struct {
	rosterChanged    <-chan struct{}
	directoryChanged <-chan struct{}
	hosts            map[string]*route
}

// route is one app as the router sees it.
type route struct {
	app     directory.App
	targets []*target
	// turn counts the requests of the app, for the round robin.
	turn *atomic.Uint64
	// web says that it has web containers, ready or not.
	web bool
}

func (t *table) stale() bool {
	select {
	case <-t.rosterChanged:
		return true
	case <-t.directoryChanged:
		return true
	default:
		return false
	}
}

// current returns a table that holds every change made before the call.
func (r *Router) current() *table {
	if t := r.table.Load(); t != nil && !t.stale() {
		return t
	}
	r.rebuild.Lock()
	defer r.rebuild.Unlock()
	if t := r.table.Load(); t != nil && (r.closed || !t.stale()) {
		return t
	}
	t := r.build()
	r.table.Store(t)
	return t
}

// build makes a table and retires the targets that are not in it any more.
func (r *Router) build() *table {
	rows, rosterChanged := r.cfg.Roster.Snapshot()
	apps, directoryChanged := r.cfg.Directory.Snapshot()
	t := &table{rosterChanged: rosterChanged, directoryChanged: directoryChanged, hosts: map[string]*route{}}
	routes := make(map[string]*route, len(apps))
	for id, app := range apps {
		turn := r.turns[id]
		if turn == nil {
			turn = new(atomic.Uint64)
			r.turns[id] = turn
		}
		route := &route{app: app, turn: turn}
		routes[id] = route
		for _, h := range app.Hosts {
			t.hosts[strings.ToLower(h)] = route
		}
	}
	kept := map[targetKey]bool{}
	for _, inst := range rows {
		route := routes[inst.AppID]
		if route == nil || inst.Type != platform.TypeWeb || inst.Kind != platform.KindApp {
			continue
		}
		route.web = true
		if !inst.InService() || !inst.OutsideAddr.IsValid() {
			continue
		}
		key := targetKey{id: inst.ID, addr: inst.OutsideAddr, started: inst.StartedAt.UnixNano()}
		kept[key] = true
		target := r.targets[key]
		if target == nil {
			target = newTarget(inst.Label(), netip.AddrPortFrom(inst.OutsideAddr, r.cfg.Port), r.cfg.Limits, r.cfg.Log)
			r.targets[key] = target
		}
		route.targets = append(route.targets, target)
	}
	for key, target := range r.targets {
		if !kept[key] {
			delete(r.targets, key)
			target.retire()
		}
	}
	for id := range r.turns {
		if routes[id] == nil {
			delete(r.turns, id)
		}
	}
	return t
}

// pick takes the next container in turn and a place in its queue, which the
// caller gives back with target.answered. Containers in quarantine have no
// turn.
func (rt *route) pick() (*target, *fault) {
	available := 0
	for _, t := range rt.targets {
		if !t.quarantined.Load() {
			available++
		}
	}
	if available == 0 {
		return nil, faultQuarantined
	}
	skip := int((rt.turn.Add(1) - 1) % uint64(available))
	// Twice round: containers may enter quarantine meanwhile, and those
	// before the one whose turn it is may have room when it has not.
	for i := range 2 * len(rt.targets) {
		t := rt.targets[i%len(rt.targets)]
		if t.quarantined.Load() {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if t.enqueue() {
			return t, nil
		}
	}
	return nil, faultQueueFull
}

// unavailable says why an app without a container in service has none.
func (rt *route) unavailable() *fault {
	switch {
	case !rt.app.Deployed:
		return faultNotDeployed
	case !rt.web:
		return faultStopped
	default:
		return faultNotReady
	}
}
