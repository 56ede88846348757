package attack

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/e2e/rig"
	"github.com/atollhq/atoll/internal/lab"
)

// private are the attacks over pn0.
func (s *siege) private(t *testing.T) {
	t.Run("honest frame", s.honest)
	for _, attacks := range [][]attack{s.privateSpoofs(), s.privateARP(), s.privateGroups(), s.privateStrays(), s.privateFragments()} {
		for _, a := range attacks {
			s.run(t, a)
		}
	}
}

// honest sends a frame as it should be: all arrive, at the neighbour alone, and
// not at the stranger who has the same address.
func (s *siege) honest(t *testing.T) {
	own, target, mark := s.attacker.pn0, s.neighbour.pn0, newMark()
	a := attack{link: "pn0", frames: func(mark string) [][]byte {
		return [][]byte{frame(privateMAC(target), privateMAC(own), typeIPv4, udp(own, target, servicePort, mark))}
	}}
	sent := s.attacker.granted.must(t, a.order(mark)).Sent
	for _, w := range s.witnesses {
		want := 0
		if w.who == s.neighbour.name+" pn0" {
			want = sent
			lab.WaitFor(t, 10*time.Second, "the neighbour to see the frames", func() (bool, error) { return w.saw(mark) >= want, nil })
		}
		if saw := w.saw(mark); saw != want {
			t.Errorf("%s saw %d frames, want %d", w.who, saw, want)
		}
	}
	rig.Report(t, "attack: (none) an honest frame (pn0)", "%d of %d seen by the neighbour, 0 by the stranger with the same address", sent, sent)
}

// one is an attack with a single frame over pn0.
func (s *siege) one(name, reason string, frame func(mark string) []byte) attack {
	return attack{name: name, link: "pn0", reason: "pn0 " + reason, frames: func(mark string) [][]byte { return [][]byte{frame(mark)} }}
}

func (s *siege) privateSpoofs() []attack {
	own, target, third := s.attacker.pn0, s.neighbour.pn0, s.frontend.pn0
	from, to := privateMAC(own), privateMAC(target)
	return []attack{
		s.one("spoofed source IP", "spoofed-ip", func(mark string) []byte { return frame(to, from, typeIPv4, udp(third, target, servicePort, mark)) }),
		s.one("spoofed source IP of the internet", "spoofed-ip", func(mark string) []byte {
			return frame(to, from, typeIPv4, udp(ip("198.51.100.10"), target, servicePort, mark))
		}),
		s.one("spoofed MAC", "spoofed-mac", func(mark string) []byte {
			return frame(to, privateMAC(third), typeIPv4, udp(own, target, servicePort, mark))
		}),
		s.one("spoofed MAC and IP", "spoofed-mac", func(mark string) []byte {
			return frame(to, privateMAC(third), typeIPv4, udp(third, target, servicePort, mark))
		}),
		s.one("forged DNS answer to a neighbour", "spoofed-ip", func(mark string) []byte {
			return frame(to, from, typeIPv4, dnsAnswer(gateway, target, mark))
		}),
		s.one("VLAN tag (802.1Q)", "vlan", func(mark string) []byte {
			return tagged(frame(to, from, typeIPv4, udp(own, target, servicePort, mark)), typeVLAN)
		}),
		s.one("two VLAN tags (QinQ)", "vlan", func(mark string) []byte {
			return tagged(tagged(frame(to, from, typeIPv4, udp(own, target, servicePort, mark)), typeVLAN), typeQinQ)
		}),
		s.one("source-routed packet", "ip-options", func(mark string) []byte {
			p := packet{from: own, to: target, protocol: unix.IPPROTO_UDP, options: sourceRoute(third, gateway), body: datagram(5000, servicePort, []byte(mark))}
			return frame(to, from, typeIPv4, p.bytes())
		}),
		s.one("frames of an unknown protocol", "other-ethertype", func(mark string) []byte { return frame(to, from, 0x88b5, []byte(mark)) }),
	}
}

func (s *siege) privateARP() []attack {
	own, target, third := s.attacker.pn0, s.neighbour.pn0, s.frontend.pn0
	from, to := privateMAC(own), privateMAC(target)
	everybody := broadcastMAC
	return []attack{
		s.one("ARP request in another's name", "arp-forged", func(mark string) []byte {
			return frame(everybody, from, typeARP, arp(1, from, third, make([]byte, 6), target, mark))
		}),
		s.one("ARP reply in another's name", "arp-forged", func(mark string) []byte {
			return frame(to, from, typeARP, arp(2, from, third, to, target, mark))
		}),
		s.one("ARP reply in its own name", "arp-forged", func(mark string) []byte {
			return frame(to, from, typeARP, arp(2, from, own, to, target, mark))
		}),
		s.one("gratuitous ARP for another's address", "arp-forged", func(mark string) []byte {
			return frame(everybody, from, typeARP, arp(1, from, target, make([]byte, 6), target, mark))
		}),
		s.one("gratuitous ARP for its own address", "arp-own", func(mark string) []byte {
			return frame(everybody, from, typeARP, arp(1, from, own, make([]byte, 6), own, mark))
		}),
		s.one("gratuitous ARP from another's MAC", "spoofed-mac", func(mark string) []byte {
			return frame(everybody, to, typeARP, arp(1, from, target, make([]byte, 6), target, mark))
		}),
		s.privateSweep(),
	}
}

// privateSweep asks for every address that nobody has.
func (s *siege) privateSweep() attack {
	own, all := s.attacker.pn0, netip.MustParsePrefix("10.240.0.0/22")
	from := privateMAC(own)
	sweep := s.one("ARP for addresses nobody has", "arp-unknown", nil)
	sweep.once, sweep.frames = true, func(mark string) (frames [][]byte) {
		for a := all.Addr().Next(); all.Contains(a.Next()); a = a.Next() {
			if !slices.Contains([]netip.Addr{own, s.neighbour.pn0, s.frontend.pn0}, a) {
				frames = append(frames, frame(broadcastMAC, from, typeARP, arp(1, from, own, make([]byte, 6), a, mark)))
			}
		}
		return frames
	}
	return sweep
}

func (s *siege) privateGroups() []attack {
	own, target := s.attacker.pn0, s.neighbour.pn0
	from, to := privateMAC(own), privateMAC(target)
	all6 := ip("ff02::1")
	return []attack{
		s.one("IPv6 router advertisement", "ipv6", func(mark string) []byte { return frame(groupMAC6(all6), from, typeIPv6, icmp6(all6, 134, mark)) }),
		s.one("IPv6 neighbour solicitation", "ipv6", func(mark string) []byte { return frame(groupMAC6(all6), from, typeIPv6, icmp6(all6, 135, mark)) }),
		s.one("IPv6 neighbour advertisement", "ipv6", func(mark string) []byte { return frame(to, from, typeIPv6, icmp6(all6, 136, mark)) }),
		s.one("DHCP offer", "broadcast", func(mark string) []byte { return frame(broadcastMAC, from, typeIPv4, dhcpOffer(own, mark)) }),
		s.one("DHCP offer to one neighbour", "broadcast", func(mark string) []byte { return frame(to, from, typeIPv4, dhcpOffer(own, mark)) }),
		s.one("broadcast frame", "broadcast", func(mark string) []byte {
			return frame(broadcastMAC, from, typeIPv4, udp(own, target, servicePort, mark))
		}),
		s.one("broadcast to the network", "broadcast", func(mark string) []byte {
			return frame(to, from, typeIPv4, udp(own, ip("10.240.3.255"), servicePort, mark))
		}),
		s.one("multicast frame", "multicast", func(mark string) []byte {
			return frame(mac("01:00:5e:00:00:fb"), from, typeIPv4, udp(own, ip("224.0.0.251"), 5353, mark))
		}),
		s.one("multicast in a unicast frame", "multicast", func(mark string) []byte {
			return frame(to, from, typeIPv4, udp(own, ip("224.0.0.251"), 5353, mark))
		}),
	}
}

// privateStrays go to those who are not in the network.
func (s *siege) privateStrays() []attack {
	own, target, elsewhere := s.attacker.pn0, s.neighbour.pn0, s.strangers[2].pn0
	from, to := privateMAC(own), privateMAC(target)
	overlay := func(port uint16, head ...byte) func(string) []byte {
		return func(mark string) []byte {
			inner := frame(to, from, typeIPv4, udp(own, target, servicePort, mark))
			return frame(outsideMAC(gateway), from, typeIPv4, udp(own, gateway, port, string(head)+string(inner)))
		}
	}
	return []attack{
		s.one("frame to the host end's MAC", "wrong-mac", func(mark string) []byte {
			return frame(s.ends["pn0"], from, typeIPv4, udp(own, target, servicePort, mark))
		}),
		s.one("frame to the host end's MAC, for the node", "unknown-destination", func(mark string) []byte {
			return frame(s.ends["pn0"], from, typeIPv4, udp(own, ip("203.0.113.2"), servicePort, mark))
		}),
		s.one("its own address, which a stranger has too", "wrong-mac", func(mark string) []byte {
			return frame(to, from, typeIPv4, udp(own, own, servicePort, mark))
		}),
		s.one("address that only another network has", "unknown-destination", func(mark string) []byte {
			return frame(privateMAC(elsewhere), from, typeIPv4, udp(own, elsewhere, servicePort, mark))
		}),
		s.one("metadata address", "unknown-destination", func(mark string) []byte {
			return frame(s.ends["pn0"], from, typeIPv4, syn(own, ip("169.254.169.254"), 80, mark))
		}),
		s.one("containers' addresses of the outside", "unknown-destination", func(mark string) []byte {
			return frame(outsideMAC(s.neighbour.eth0), from, typeIPv4, udp(own, s.neighbour.eth0, servicePort, mark))
		}),
		s.one("VXLAN to the node", "unknown-destination", overlay(4789, 8, 0, 0, 0, 0, 0, 1, 0)),
		s.one("Geneve to the node", "unknown-destination", overlay(6081, 0, 0, 0x65, 0x58, 0, 0, 1, 0)),
		s.one("WireGuard to the node", "unknown-destination", overlay(51820, 4, 0, 0, 0)),
	}
}
