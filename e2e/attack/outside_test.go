package attack

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// outside are the attacks over eth0.
func (s *siege) outside(t *testing.T) {
	for _, attacks := range [][]attack{s.outsideSpoofs(), s.outsideNeighbours(), s.outsideGroups(), s.outsidePrivate(), s.outsideNode(), s.outsideSweeps()} {
		for _, a := range attacks {
			s.run(t, a)
		}
	}
}

// bridged is an attack with a single frame over eth0, which the bridge drops.
func (s *siege) bridged(name, reason string, frame func(mark string) []byte) attack {
	return attack{name: name, link: "eth0", reason: "eth0 " + reason, frames: func(mark string) [][]byte { return [][]byte{frame(mark)} }}
}

// routed is one with a packet to the gateway's MAC, for the node to route.
func (s *siege) routed(name, reason string, packet func(mark string) []byte) attack {
	a := s.bridged(name, reason, func(mark string) []byte {
		return frame(outsideMAC(gateway), outsideMAC(s.attacker.eth0), typeIPv4, packet(mark))
	})
	a.routed = true
	return a
}

func (s *siege) outsideSpoofs() []attack {
	own, other := s.attacker.eth0, s.neighbour.eth0
	from, others, to := outsideMAC(own), outsideMAC(other), outsideMAC(gateway)
	question := func(from netip.Addr, mark string) []byte { return udp(from, gateway, 53, mark) }
	return []attack{
		s.bridged("spoofed source IP", "spoofed", func(mark string) []byte { return frame(to, from, typeIPv4, question(other, mark)) }),
		s.bridged("spoofed source IP, private", "spoofed", func(mark string) []byte { return frame(to, from, typeIPv4, question(s.attacker.pn0, mark)) }),
		s.bridged("spoofed MAC", "spoofed", func(mark string) []byte { return frame(to, others, typeIPv4, question(own, mark)) }),
		s.bridged("spoofed MAC and IP", "spoofed", func(mark string) []byte { return frame(to, others, typeIPv4, question(other, mark)) }),
		s.bridged("forged DNS answer to a neighbour", "spoofed", func(mark string) []byte {
			return frame(others, from, typeIPv4, dnsAnswer(gateway, other, mark))
		}),
		s.bridged("forged DNS answer with the gateway's MAC", "spoofed", func(mark string) []byte {
			return frame(others, to, typeIPv4, dnsAnswer(gateway, other, mark))
		}),
		s.bridged("ARP request in another's name", "spoofed", func(mark string) []byte {
			return frame(broadcastMAC, from, typeARP, arp(1, from, other, make([]byte, 6), gateway, mark))
		}),
		s.bridged("ARP reply in the gateway's name", "spoofed", func(mark string) []byte {
			return frame(others, from, typeARP, arp(2, from, gateway, others, other, mark))
		}),
		s.bridged("gratuitous ARP for another's address", "spoofed", func(mark string) []byte {
			return frame(broadcastMAC, from, typeARP, arp(1, from, other, make([]byte, 6), other, mark))
		}),
		s.bridged("VLAN tag (802.1Q)", "protocol", func(mark string) []byte { return tagged(frame(to, from, typeIPv4, question(own, mark)), typeVLAN) }),
		s.bridged("two VLAN tags (QinQ)", "protocol", func(mark string) []byte {
			return tagged(tagged(frame(to, from, typeIPv4, question(own, mark)), typeVLAN), typeQinQ)
		}),
		s.bridged("frames of an unknown protocol", "protocol", func(mark string) []byte { return frame(to, from, 0x88b5, []byte(mark)) }),
		s.bridged("around the bridge, by a link-local group", "bypass", func(mark string) []byte {
			return frame(mac("01:80:c2:00:00:0e"), from, typeIPv4, question(other, mark))
		}),
		s.bridged("ARP around the bridge, by a link-local group", "bypass", func(mark string) []byte {
			return frame(mac("01:80:c2:00:00:0e"), from, typeARP, arp(1, from, ip("198.51.100.77"), make([]byte, 6), ip("203.0.113.2"), mark))
		}),
	}
}

// outsideNeighbours go to other containers: by their MAC, by the gateway's.
func (s *siege) outsideNeighbours() (attacks []attack) {
	own, from := s.attacker.eth0, outsideMAC(s.attacker.eth0)
	for _, v := range []struct {
		who  string
		addr netip.Addr
		port uint16
	}{{"a neighbour", s.neighbour.eth0, servicePort}, {"a public neighbour", s.frontend.eth0, 8080}, {"a stranger", s.strangers[0].eth0, servicePort}} {
		for kind, make := range map[string]func(mark string) []byte{
			"UDP":  func(mark string) []byte { return udp(own, v.addr, v.port, mark) },
			"TCP":  func(mark string) []byte { return syn(own, v.addr, v.port, mark) },
			"ICMP": func(mark string) []byte { return echoRequest(own, v.addr, mark) },
		} {
			attacks = append(attacks,
				s.bridged(kind+" to "+v.who+"'s MAC", "neighbour", func(mark string) []byte { return frame(outsideMAC(v.addr), from, typeIPv4, make(mark)) }),
				s.routed(kind+" to "+v.who+" by the gateway", "neighbour", make))
		}
		attacks = append(attacks, s.bridged("ARP request for "+v.who, "neighbour", func(mark string) []byte {
			return frame(broadcastMAC, from, typeARP, arp(1, from, own, []byte{0, 0, 0, 0, 0, 0}, v.addr, mark))
		}))
	}
	neighbour := s.neighbour
	return append(attacks,
		s.bridged("private packet to a neighbour's MAC", "neighbour", func(mark string) []byte {
			return frame(outsideMAC(neighbour.eth0), from, typeIPv4, udp(own, neighbour.pn0, servicePort, mark))
		}),
		s.bridged("frame to the host end's MAC", "neighbour", func(mark string) []byte {
			return frame(s.ends["eth0"], from, typeIPv4, udp(own, gateway, 53, mark))
		}),
		s.bridged("VXLAN to a neighbour", "neighbour", func(mark string) []byte {
			inner := frame(privateMAC(neighbour.pn0), privateMAC(s.attacker.pn0), typeIPv4, udp(s.attacker.pn0, neighbour.pn0, servicePort, mark))
			return frame(outsideMAC(neighbour.eth0), from, typeIPv4, udp(own, neighbour.eth0, 4789, "\x08\x00\x00\x00\x00\x00\x01\x00"+string(inner)))
		}))
}

func (s *siege) outsideGroups() []attack {
	own, from := s.attacker.eth0, outsideMAC(s.attacker.eth0)
	all6 := ip("ff02::1")
	return []attack{
		s.bridged("IPv6 router advertisement", "protocol", func(mark string) []byte { return frame(groupMAC6(all6), from, typeIPv6, icmp6(all6, 134, mark)) }),
		s.bridged("IPv6 neighbour solicitation", "protocol", func(mark string) []byte { return frame(groupMAC6(all6), from, typeIPv6, icmp6(all6, 135, mark)) }),
		s.bridged("IPv6 neighbour advertisement", "protocol", func(mark string) []byte {
			return frame(outsideMAC(s.neighbour.eth0), from, typeIPv6, icmp6(all6, 136, mark))
		}),
		s.bridged("DHCP offer", "group", func(mark string) []byte { return frame(broadcastMAC, from, typeIPv4, dhcpOffer(own, mark)) }),
		s.bridged("broadcast frame", "group", func(mark string) []byte {
			return frame(broadcastMAC, from, typeIPv4, udp(own, ip("172.17.255.255"), servicePort, mark))
		}),
		s.bridged("multicast frame", "group", func(mark string) []byte {
			return frame(mac("01:00:5e:00:00:fb"), from, typeIPv4, udp(own, ip("224.0.0.251"), 5353, mark))
		}),
		s.routed("broadcast to the network by the gateway", "node", func(mark string) []byte {
			return udp(own, ip("172.17.255.255"), servicePort, mark)
		}),
		s.routed("broadcast to all by the gateway", "node", func(mark string) []byte {
			return udp(own, ip("255.255.255.255"), servicePort, mark)
		}),
	}
}

// outsidePrivate go by way of the node to where they must not: to private
// destinations, or out with a private source.
func (s *siege) outsidePrivate() (attacks []attack) {
	own := s.attacker.eth0
	for _, to := range []netip.Addr{s.neighbour.pn0, s.strangers[2].pn0, ip("10.1.2.3"), ip("172.16.0.9"), ip("172.31.255.254"), ip("192.168.1.1"), ip("100.64.0.1")} {
		attacks = append(attacks, s.routed("private destination "+to.String(), "private", func(mark string) []byte { return udp(own, to, servicePort, mark) }))
	}
	for _, to := range []netip.Addr{ip("169.254.169.254"), ip("169.254.1.1"), ip("168.63.129.16"), ip("100.100.100.200")} {
		attacks = append(attacks, s.routed("metadata address "+to.String(), "metadata", func(mark string) []byte { return syn(own, to, 80, mark) }))
	}
	for name, by := range map[string]netip.Addr{"the metadata address": ip("169.254.169.254"), "a neighbour": s.neighbour.eth0, "a private address": s.neighbour.pn0} {
		attacks = append(attacks, s.bridged("source route to "+name, "options", func(mark string) []byte {
			p := packet{from: own, to: gateway, protocol: unix.IPPROTO_UDP, options: sourceRoute(by), body: datagram(5000, servicePort, []byte(mark))}
			return frame(outsideMAC(gateway), outsideMAC(own), typeIPv4, p.bytes())
		}))
	}
	internet := ip("198.51.100.10")
	attacks = append(attacks,
		s.routed("echo reply that nobody asked for", "invalid", func(mark string) []byte { return echoReply(own, internet, mark) }),
		s.routed("SYN with FIN", "invalid", func(mark string) []byte { return tcp(own, internet, 80, flagSYN|flagFIN, mark) }))
	return append(attacks, s.outsideFragments()...)
}

// outsideNode go to the node itself.
func (s *siege) outsideNode() (attacks []attack) {
	own := s.attacker.eth0
	inner := func(mark string) string {
		return string(frame(outsideMAC(s.neighbour.eth0), outsideMAC(own), typeIPv4, udp(own, s.neighbour.eth0, servicePort, mark)))
	}
	for name, to := range map[string]netip.AddrPort{
		"VXLAN": netip.AddrPortFrom(gateway, 4789), "Geneve": netip.AddrPortFrom(gateway, 6081), "WireGuard": netip.AddrPortFrom(ip("203.0.113.2"), 51820),
	} {
		attacks = append(attacks, s.routed(name+" to the node", "node", func(mark string) []byte {
			return udp(own, to.Addr(), to.Port(), "\x08\x00\x00\x00\x00\x00\x01\x00"+inner(mark))
		}))
	}
	return append(attacks,
		s.routed("packet to the API", "node", func(mark string) []byte { return syn(own, ip("203.0.113.2"), 7000, mark) }),
		s.routed("packet to the API at the gateway", "node", func(mark string) []byte { return syn(own, gateway, 7000, mark) }),
		s.routed("IP in IP to the node", "node", func(mark string) []byte {
			return packet{from: own, to: gateway, protocol: unix.IPPROTO_IPIP, body: udp(s.attacker.pn0, s.neighbour.pn0, servicePort, mark)}.bytes()
		}),
		s.routed("GRE to the node", "node", func(mark string) []byte {
			return packet{from: own, to: gateway, protocol: unix.IPPROTO_GRE, body: append([]byte{0, 0, 8, 0}, udp(s.attacker.pn0, s.neighbour.pn0, servicePort, mark)...)}.bytes()
		}))
}

// outsideSweeps go to every address of the containers' range.
func (s *siege) outsideSweeps() []attack {
	own, from := s.attacker.eth0, outsideMAC(s.attacker.eth0)
	sweep := func(name, reason string, routed bool, one func(to netip.Addr, mark string) []byte) attack {
		return attack{name: name + " to every address of 172.17.0.0/16", link: "eth0", reason: "eth0 " + reason, routed: routed, once: true, frames: func(mark string) (frames [][]byte) {
			all := netip.MustParsePrefix("172.17.0.0/16")
			for a := gateway.Next(); all.Contains(a.Next()); a = a.Next() {
				if a != own {
					frames = append(frames, one(a, mark))
				}
			}
			return frames
		}}
	}
	return []attack{
		sweep("ARP", "neighbour", false, func(to netip.Addr, mark string) []byte {
			return frame(broadcastMAC, from, typeARP, arp(1, from, own, make(net.HardwareAddr, 6), to, mark))
		}),
		sweep("frames", "neighbour", false, func(to netip.Addr, mark string) []byte {
			return frame(outsideMAC(to), from, typeIPv4, udp(own, to, servicePort, mark))
		}),
		sweep("packets by the gateway", "neighbour", true, func(to netip.Addr, mark string) []byte {
			return frame(outsideMAC(gateway), from, typeIPv4, syn(own, to, 8080, mark))
		}),
	}
}
