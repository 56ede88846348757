package resolver

import (
	"net/netip"
	"strings"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// index is everything that questions are answered from, laid out for
// look-ups. It is made from one snapshot of the roster and the directory and
// means the same ever after.
type index struct {
	rosterChanged    <-chan struct{}
	directoryChanged <-chan struct{}
	// askers finds who asks, by source address on eth0.
	askers map[[4]byte]*asker
}

// asker is a container as the one who asks.
type asker struct {
	zone *zone
	inst *platform.Instance
	// self is its private address as an answer, nil while it has none; long
	// and short are its own numbered names, which mean nothing but self. The
	// names are there once the zone is built.
	self        [][4]byte
	long, short string
}

func makeIndex(r *roster.Roster, d *directory.Directory) *index {
	rows, rosterChanged := r.Snapshot()
	apps, directoryChanged := d.Snapshot()
	ix := &index{
		rosterChanged:    rosterChanged,
		directoryChanged: directoryChanged,
		askers:           make(map[[4]byte]*asker, len(rows)),
	}
	zones := map[string]*zone{}
	at := func(networkID string) *zone {
		id := strings.ToLower(networkID)
		if zones[id] == nil {
			zones[id] = &zone{id: id}
		}
		return zones[id]
	}
	for id, a := range apps {
		a.ID = id
		at(a.NetworkID).directory = append(at(a.NetworkID).directory, a)
	}
	for i := range rows {
		z := at(rows[i].NetworkID)
		z.rows = append(z.rows, &rows[i])
		ix.addAsker(z, &rows[i])
	}
	for _, who := range ix.askers {
		who.zone.askers = append(who.zone.askers, who)
	}
	return ix
}

func (ix *index) addAsker(z *zone, inst *platform.Instance) {
	addr := inst.OutsideAddr.Unmap()
	if !addr.Is4() {
		return
	}
	// An address has one owner at a time; should the roster still hold a
	// former one, the later container is the real one.
	if former := ix.askers[addr.As4()]; former != nil && former.inst.CreatedAt.After(inst.CreatedAt) {
		return
	}
	who := &asker{zone: z, inst: inst}
	if a, ok := wireAddr(inst.PrivateAddr); ok {
		who.self = [][4]byte{a}
	}
	ix.askers[addr.As4()] = who
}

func wireAddr(addr netip.Addr) (a [4]byte, ok bool) {
	addr = addr.Unmap()
	if !addr.Is4() {
		return a, false
	}
	return addr.As4(), true
}

// stale reports whether something changed since the index was made.
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
