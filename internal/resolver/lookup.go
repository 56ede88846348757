package resolver

import "net/netip"

// lookup answers for a name under internal. (on the wire, in lower case),
// asked by the container with the given source address. addrs are shared, not
// to be modified.
func (ix *index) lookup(source netip.Addr, name []byte) (addrs [][4]byte, exists bool) {
	who := ix.asker(source)
	if who == nil {
		return nil, false
	}
	zone := who.zone.built()
	addrs, exists = zone.names[string(name)]
	// Its own number is always itself, whoever else has it now.
	if who.self != nil && (string(name) == who.long || string(name) == who.short) {
		return who.self, true
	}
	return addrs, exists
}

// owner is the numbered name of a private address in the asker's network, on
// the wire; "" when there is none or the asker is unknown. exists is also
// true for a name above addresses of the private range.
func (ix *index) owner(source netip.Addr, name reverseName) (owner string, exists bool) {
	who := ix.asker(source)
	switch {
	case who == nil:
		return "", false
	case name.branch():
		return "", true
	case name.n < 4 || name.extra:
		return "", false
	}
	owner, exists = who.zone.built().owners[name.octets]
	return owner, exists
}

func (ix *index) asker(source netip.Addr) *asker {
	if !source.Is4() {
		return nil
	}
	return ix.askers[source.As4()]
}

// describe says for people who asks.
func (ix *index) describe(source netip.Addr) string {
	who := ix.asker(source)
	if who == nil {
		return "none of an app"
	}
	return who.inst.AppName + " " + who.inst.Label()
}
