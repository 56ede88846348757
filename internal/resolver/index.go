package resolver

import (
	"net/netip"
	"strings"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// index is everything that questions are answered from, laid out for
// look-ups. It is built from one snapshot of the roster and the directory
// and never changed afterwards.
type index struct {
	rosterChanged    <-chan struct{}
	directoryChanged <-chan struct{}
	// askers finds who asks, by source address on eth0.
	askers map[netip.Addr]asker
}

// asker is a container as the one who asks.
type asker struct {
	zone *zone
	self platform.PrivateName
	addr netip.Addr
}

// zone holds the names of one private network.
type zone struct {
	id     string
	byID   map[string]*app
	byName map[string]*app
	// owners maps private addresses to the numbered long name.
	owners map[netip.Addr]string
}

type app struct {
	services map[string]*service
}

// service is one label in front of an app: a process type, or one-off.
type service struct {
	// addrs are what the type's name resolves to.
	addrs []netip.Addr
	// members are what the numbered names resolve to.
	members map[int]member
}

// member is the container that has a numbered name now.
type member struct {
	// addr is invalid while the container has no address yet.
	addr       netip.Addr
	rank       int
	generation int64
}

// stale reports whether something changed since the index was built.
func (ix *index) stale() bool {
	select {
	case <-ix.rosterChanged:
		return true
	case <-ix.directoryChanged:
		return true
	default:
		return false
	}
}

func buildIndex(r *roster.Roster, d *directory.Directory) *index {
	rows, rosterChanged := r.Snapshot()
	apps, directoryChanged := d.Snapshot()
	zones := zones{}
	for id, a := range apps {
		zones.addApp(id, a)
	}
	ix := &index{
		rosterChanged:    rosterChanged,
		directoryChanged: directoryChanged,
		askers:           make(map[netip.Addr]asker, len(rows)),
	}
	newest := make(map[netip.Addr]platform.Instance, len(rows))
	for _, inst := range rows {
		z := zones.get(inst.NetworkID)
		z.addInstance(inst)
		if !inst.OutsideAddr.IsValid() {
			continue
		}
		// An address has one owner at a time; should the roster still hold a
		// former one, the later container is the real one.
		addr := inst.OutsideAddr.Unmap()
		if former, taken := newest[addr]; taken && former.CreatedAt.After(inst.CreatedAt) {
			continue
		}
		newest[addr] = inst
		ix.askers[addr] = asker{zone: z, self: nameOf(inst), addr: inst.PrivateAddr}
	}
	return ix
}

// zones are all networks by id, in lower case like everything in an index.
type zones map[string]*zone

func (zs zones) get(networkID string) *zone {
	id := strings.ToLower(networkID)
	z := zs[id]
	if z == nil {
		z = &zone{id: id, byID: map[string]*app{}, byName: map[string]*app{}, owners: map[netip.Addr]string{}}
		zs[id] = z
	}
	return z
}

func (zs zones) addApp(id string, a directory.App) {
	entry := zs.get(a.NetworkID).app(id)
	zs.get(a.NetworkID).byName[strings.ToLower(a.Name)] = entry
	for _, t := range a.Types {
		entry.service(t)
	}
}

func (z *zone) app(id string) *app {
	id = strings.ToLower(id)
	a := z.byID[id]
	if a == nil {
		a = &app{services: map[string]*service{}}
		z.byID[id] = a
	}
	return a
}

// addInstance enters a container under its names. Apps of the roster that
// the directory does not know (the control role has not started yet) are
// served all the same; of two names for one app the directory's counts.
func (z *zone) addInstance(inst platform.Instance) {
	known := len(z.byID)
	a := z.app(inst.AppID)
	if name := strings.ToLower(inst.AppName); len(z.byID) > known && z.byName[name] == nil {
		z.byName[name] = a
	}
	if inst.PrivateAddr.IsValid() {
		z.owners[inst.PrivateAddr.Unmap()] = nameOf(inst).String()
	}
	rank := rankOf(inst)
	if rank == 0 && inst.Kind != platform.KindApp {
		return
	}
	// A process type exists as long as anything of it does; it must not
	// become NXDOMAIN while its last container drains.
	s := a.service(label(inst))
	if rank == 0 {
		return
	}
	if inst.InService() && inst.PrivateAddr.IsValid() {
		s.addrs = append(s.addrs, inst.PrivateAddr.Unmap())
	}
	m := member{addr: inst.PrivateAddr.Unmap(), rank: rank, generation: inst.Generation}
	now, taken := s.members[inst.Number]
	if !taken || m.rank > now.rank || m.rank == now.rank && m.generation >= now.generation {
		s.members[inst.Number] = m
	}
}

// rankOf orders the generations that share a number: the one in service
// first, else a ready one, else one that runs or will run. 0 means that the
// container has no numbered name any more. Among equals the newest wins.
func rankOf(inst platform.Instance) int {
	switch inst.State {
	case platform.InstanceDraining, platform.InstanceStopping:
		return 0
	case platform.InstanceRunning:
		switch {
		case inst.InService():
			return 4
		case inst.Observation.Ready:
			return 3
		}
		return 2
	case platform.InstanceStarting, platform.InstanceCrashed:
		return 2
	default:
		return 1
	}
}

func (a *app) service(label string) *service {
	label = strings.ToLower(label)
	s := a.services[label]
	if s == nil {
		s = &service{members: map[int]member{}}
		a.services[label] = s
	}
	return s
}

// label is the part of a container's name in front of its app.
func label(inst platform.Instance) string {
	switch inst.Kind {
	case platform.KindOneOff:
		return platform.TypeOneOff
	case platform.KindPostdeploy:
		return platform.TypePostdeploy
	default:
		return inst.Type
	}
}

// nameOf is the numbered long name of a container, in lower case.
func nameOf(inst platform.Instance) platform.PrivateName {
	return platform.PrivateName{
		Number:    inst.Number,
		Type:      strings.ToLower(label(inst)),
		AppID:     strings.ToLower(inst.AppID),
		NetworkID: strings.ToLower(inst.NetworkID),
	}
}
