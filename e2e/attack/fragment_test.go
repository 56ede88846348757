package attack

import (
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// fragments are packets in pieces, by the gateway to an address that must not
// be reached. Those that make a whole are counted once each; the others never
// become a packet.
func (s *siege) fragments(to netip.Addr, reason string) (attacks []attack) {
	own := s.attacker.eth0
	const unit = 8 // of offsets
	var id uint16
	piece := func(at int, more bool, body string) []byte {
		p := packet{from: own, to: to, protocol: unix.IPPROTO_UDP, id: id, fragment: uint16(at / unit), body: []byte(body)}
		if more {
			p.fragment |= moreFragments
		}
		return frame(outsideMAC(gateway), outsideMAC(own), typeIPv4, p.bytes())
	}
	text := func(mark string) string {
		return string(datagram(5000, servicePort, []byte(mark+strings.Repeat(".", 64))))
	}
	add := func(name string, whole int, frames func(text string) [][]byte) {
		a := attack{name: "fragments to " + to.String() + ": " + name, link: "eth0", reason: "eth0 " + reason, routed: true, whole: whole, once: true}
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
