package attack

import (
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// course is where fragments go.
type course struct {
	link     string
	from, to netip.Addr
	// sender and target are the MACs.
	sender, target net.HardwareAddr
	reason         string
	// whole: judged is the packet that they make, if they make one, as the node
	// does. The switch judges each fragment by itself.
	whole bool
}

// outsideFragments go by the gateway to an address that must not be reached.
func (s *siege) outsideFragments() []attack {
	own := s.attacker.eth0
	return fragments(course{link: "eth0", from: own, to: s.neighbour.pn0, sender: outsideMAC(own), target: outsideMAC(gateway), reason: "eth0 private", whole: true})
}

// privateFragments go to another network's address, and in another's name.
func (s *siege) privateFragments() []attack {
	own, elsewhere, target, third := s.attacker.pn0, s.strangers[2].pn0, s.neighbour.pn0, s.frontend.pn0
	stray := course{link: "pn0", from: own, to: elsewhere, sender: privateMAC(own), target: privateMAC(elsewhere), reason: "pn0 unknown-destination"}
	forged := course{link: "pn0", from: third, to: target, sender: privateMAC(own), target: privateMAC(target), reason: "pn0 spoofed-ip"}
	return append(fragments(stray), fragments(forged)...)
}

// fragments are packets in pieces.
func fragments(c course) (attacks []attack) {
	const unit = 8 // of offsets
	var id uint16
	piece := func(at int, more bool, body string) []byte {
		p := packet{from: c.from, to: c.to, protocol: unix.IPPROTO_UDP, id: id, fragment: uint16(at / unit), body: []byte(body)}
		if more {
			p.fragment |= moreFragments
		}
		return frame(c.target, c.sender, typeIPv4, p.bytes())
	}
	text := func(mark string) string {
		return string(datagram(5000, servicePort, []byte(mark+strings.Repeat(".", 64))))
	}
	add := func(name string, whole int, frames func(text string) [][]byte) {
		a := attack{name: "fragments from " + c.from.String() + " to " + c.to.String() + ": " + name, link: c.link, reason: c.reason, routed: c.whole, once: true}
		if c.whole {
			a.whole = whole
		}
		a.frames = func(mark string) (all [][]byte) {
			for range times {
				id++ // each a packet of its own
				all = append(all, frames(text(mark))...)
			}
			return all
		}
		attacks = append(attacks, a)
	}
	add("in order", 2, func(text string) [][]byte { return [][]byte{piece(0, true, text[:48]), piece(48, false, text[48:])} })
	add("in reverse", 2, func(text string) [][]byte { return [][]byte{piece(48, false, text[48:]), piece(0, true, text[:48])} })
	add("tiny first, ports only", 2, func(text string) [][]byte { return [][]byte{piece(0, true, text[:8]), piece(8, false, text[8:])} })
	add("overlapping", never, func(text string) [][]byte {
		return [][]byte{piece(0, true, text[:48]), piece(8, true, text[8:56]), piece(48, false, text[48:])}
	})
	add("beyond the end of a packet", never, func(text string) [][]byte { return [][]byte{piece(65528, false, text)} })
	return attacks
}
