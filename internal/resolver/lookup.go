package resolver

import (
	"net/netip"
	"strings"

	"github.com/atollhq/atoll/internal/platform"
)

// finding is what the index knows about a name of the private zone.
type finding struct {
	// exists is false for NXDOMAIN.
	exists bool
	// addrs are the A records; shared, not to be modified.
	addrs []netip.Addr
}

var nothing = finding{}

// lookup answers for one name under internal., asked by the container with
// the given source address.
func (ix *index) lookup(source netip.Addr, name string) finding {
	who, known := ix.askers[source]
	if !known {
		return nothing
	}
	if who.zone.isBranch(name) {
		return finding{exists: true}
	}
	n, ok := platform.ParsePrivateName(name)
	if !ok {
		return nothing
	}
	var a *app
	if n.AppName != "" {
		a = who.zone.byName[n.AppName]
	} else if n.NetworkID == who.zone.id {
		a = who.zone.byID[n.AppID]
	}
	if a == nil {
		return nothing
	}
	if n.Number > 0 && n.Number == who.self.Number && n.Type == who.self.Type &&
		a == who.zone.byID[who.self.AppID] && who.addr.IsValid() {
		return finding{exists: true, addrs: []netip.Addr{who.addr.Unmap()}}
	}
	return a.find(n)
}

// find answers for a name of this app.
func (a *app) find(n platform.PrivateName) finding {
	s := a.services[n.ServiceType()]
	switch {
	case s == nil:
		// The app's bare name exists also when it has no web type.
		return finding{exists: n.Type == ""}
	case n.Number == 0:
		return finding{exists: true, addrs: s.addrs}
	}
	m, ok := s.members[n.Number]
	if !ok {
		return nothing
	}
	if !m.addr.IsValid() {
		return finding{exists: true}
	}
	return finding{exists: true, addrs: []netip.Addr{m.addr}}
}

// isBranch reports whether name has no records itself but names below it
// (an empty non-terminal, RFC 8020).
func (z *zone) isBranch(name string) bool {
	switch name = strings.ToLower(name); name {
	case platform.PrivateZone, longZone:
		return true
	default:
		return name == z.id+"."+longZone
	}
}

const longZone = "private-network." + platform.PrivateZone

// owner is the numbered name of a private address in the asker's network,
// "" when there is none or the asker is unknown.
func (ix *index) owner(source, addr netip.Addr) string {
	who, known := ix.askers[source]
	if !known {
		return ""
	}
	return who.zone.owners[addr]
}
