package flows

import (
	"net/netip"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// place is an address of a network.
type place struct {
	networkID string
	addr      netip.Addr
}

// tenant is a container that had an address.
type tenant struct {
	instanceID string
	member     platform.Member
	// from is when it may have had the address first: an instance may wait for
	// one until another's rested, long after it was created.
	from time.Time
	// gone is when it was missed first, zero while it is there.
	gone time.Time
}

// tenants remembers who had which address when. Addresses rest before others
// get them, so the periods of a place do not overlap.
type tenants struct {
	mu     sync.Mutex
	byAddr map[place][]tenant // oldest first
}

// observe takes in what is there now, and forgets who went longer ago than
// memory.
func (t *tenants) observe(rows []platform.Instance, now time.Time, memory time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	present := map[string]place{}
	for _, i := range rows {
		if i.PrivateAddr.IsValid() {
			present[i.ID] = place{i.NetworkID, i.PrivateAddr}
		}
	}
	t.depart(present, now, memory)
	for _, i := range rows {
		if p, has := present[i.ID]; has {
			t.arrive(p, i)
		}
	}
}

// arrive takes in that an instance has an address. Who went before it is
// marked as gone already.
func (t *tenants) arrive(p place, i platform.Instance) {
	list, from := t.byAddr[p], i.CreatedAt
	if len(list) > 0 {
		last := &list[len(list)-1]
		if last.instanceID == i.ID {
			last.gone = time.Time{}
			return
		}
		if last.gone.After(from) {
			from = last.gone
		}
	}
	t.byAddr[p] = append(list, tenant{instanceID: i.ID, from: from, member: platform.Member{
		Addr: i.PrivateAddr, AppID: i.AppID, App: i.AppName, Type: i.Type, Number: i.Number}})
}

// depart marks who is not present as gone, and forgets who went longer ago
// than memory.
func (t *tenants) depart(present map[string]place, now time.Time, memory time.Duration) {
	for p, list := range t.byAddr {
		kept := list[:0]
		for _, one := range list {
			if present[one.instanceID] != p && one.gone.IsZero() {
				one.gone = now
			}
			if one.gone.IsZero() || now.Sub(one.gone) < memory {
				kept = append(kept, one)
			}
		}
		if t.byAddr[p] = kept; len(kept) == 0 {
			delete(t.byAddr, p)
		}
	}
}

// at says who had the address at a time: whoever came last before it, among
// those of the app and type when these are known. Nobody has the zero address,
// which stands for none.
func (t *tenants) at(p place, at time.Time, appID, processType string) platform.Member {
	if !p.addr.IsValid() || p.addr.IsUnspecified() {
		return platform.Member{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.byAddr[p]
	for i := len(list) - 1; i >= 0; i-- {
		m := list[i].member
		if !list[i].from.After(at) && (appID == "" || m.AppID == appID && m.Type == processType) {
			return m
		}
	}
	return platform.Member{Addr: p.addr, AppID: appID, Type: processType}
}
