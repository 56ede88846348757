package attack

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeVLAN = 0x8100
	typeQinQ = 0x88a8
	typeIPv6 = 0x86dd
)

var broadcastMAC = mac("ff:ff:ff:ff:ff:ff")

func mac(text string) net.HardwareAddr {
	m, err := net.ParseMAC(text)
	if err != nil {
		panic(err)
	}
	return m
}

func ip(text string) netip.Addr { return netip.MustParseAddr(text) }

func frame(to, from net.HardwareAddr, etherType uint16, body []byte) []byte {
	b := slices.Concat(to, from)
	return append(binary.BigEndian.AppendUint16(b, etherType), body...)
}

// tagged puts a VLAN tag into a frame.
func tagged(f []byte, etherType uint16) []byte {
	return slices.Concat(f[:12], binary.BigEndian.AppendUint16(nil, etherType), []byte{0, 42}, f[12:])
}

// arp is an ARP packet with the mark where its padding is.
func arp(op byte, senderMAC net.HardwareAddr, sender netip.Addr, targetMAC net.HardwareAddr, target netip.Addr, mark string) []byte {
	return slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, op}, senderMAC, sender.AsSlice(), targetMAC, target.AsSlice(), []byte(mark))
}

// packet is an IPv4 packet; options are padded to words.
type packet struct {
	from, to netip.Addr
	protocol uint8
	options  []byte
	fragment uint16 // flags and offset in units of 8 bytes
	id       uint16
	body     []byte
}

const moreFragments = 0x2000

func (p packet) bytes() []byte {
	options := append(slices.Clone(p.options), make([]byte, (4-len(p.options)%4)%4)...)
	b := make([]byte, 20, 20+len(options)+len(p.body))
	b[0] = 0x40 | byte(5+len(options)/4)
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(options)+len(p.body)))
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], p.fragment)
	b[8], b[9] = 64, p.protocol
	copy(b[12:], p.from.AsSlice())
	copy(b[16:], p.to.AsSlice())
	b = append(b, options...)
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, p.body...)
}

// datagram is the UDP part of a packet; it may go without a checksum.
func datagram(from, to uint16, text []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(text)))
	return append(append(b, 0, 0), text...)
}

func udp(from, to netip.Addr, port uint16, text string) []byte {
	return packet{from: from, to: to, protocol: unix.IPPROTO_UDP, body: datagram(5000, port, []byte(text))}.bytes()
}

const flagFIN, flagSYN = 1, 2

// syn opens a TCP connection and says something already.
func syn(from, to netip.Addr, port uint16, text string) []byte {
	return tcp(from, to, port, flagSYN, text)
}

func tcp(from, to netip.Addr, port uint16, flags byte, text string) []byte {
	segment := make([]byte, 20, 20+len(text))
	binary.BigEndian.PutUint16(segment, 5001)
	binary.BigEndian.PutUint16(segment[2:], port)
	binary.BigEndian.PutUint32(segment[4:], 1)
	segment[12], segment[13], segment[14] = 5<<4, flags, 0xff
	segment = append(segment, text...)
	pseudo := slices.Concat(from.AsSlice(), to.AsSlice(), []byte{0, unix.IPPROTO_TCP}, binary.BigEndian.AppendUint16(nil, uint16(len(segment))), segment)
	binary.BigEndian.PutUint16(segment[16:], checksum(pseudo))
	return packet{from: from, to: to, protocol: unix.IPPROTO_TCP, body: segment}.bytes()
}

func echoRequest(from, to netip.Addr, text string) []byte { return echo(8, from, to, text) }

func echoReply(from, to netip.Addr, text string) []byte { return echo(0, from, to, text) }

func echo(kind byte, from, to netip.Addr, text string) []byte {
	body := append([]byte{kind, 0, 0, 0, 0, 1, 0, 1}, text...)
	binary.BigEndian.PutUint16(body[2:], checksum(body))
	return packet{from: from, to: to, protocol: unix.IPPROTO_ICMP, body: body}.bytes()
}

// icmp6 is an IPv6 packet to a group, with what a router or a neighbour says.
func icmp6(to netip.Addr, kind byte, text string) []byte {
	from := ip("fe80::bad")
	body := append([]byte{kind, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, text...)
	pseudo := slices.Concat(from.AsSlice(), to.AsSlice(), []byte{0, 0, 0, byte(len(body)), 0, 0, 0, unix.IPPROTO_ICMPV6}, body)
	binary.BigEndian.PutUint16(body[2:], checksum(pseudo))
	head := []byte{0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255}
	return slices.Concat(head, from.AsSlice(), to.AsSlice(), body)
}

// groupMAC6 is the Ethernet address of an IPv6 group.
func groupMAC6(group netip.Addr) net.HardwareAddr {
	g := group.As16()
	return net.HardwareAddr{0x33, 0x33, g[12], g[13], g[14], g[15]}
}

// dhcpOffer is a DHCP answer that names the sender as router and resolver.
func dhcpOffer(from netip.Addr, text string) []byte {
	body := datagram(67, 68, append(dhcpMessage(from), text...))
	return packet{from: from, to: ip("255.255.255.255"), protocol: unix.IPPROTO_UDP, body: body}.bytes()
}

func dhcpMessage(from netip.Addr) []byte {
	b := make([]byte, 236)
	b[0], b[1], b[2] = 2, 1, 6
	copy(b[16:], []byte{10, 240, 0, 66})
	b = append(b, 99, 130, 83, 99, 53, 1, 2, 3, 4)
	b = append(append(b, from.AsSlice()...), 6, 4)
	return append(append(b, from.AsSlice()...), 255)
}

// dnsAnswer is a forged answer of a resolver.
func dnsAnswer(from, to netip.Addr, mark string) []byte {
	reply := new(dns.Msg).SetQuestion(mark+".internal.", dns.TypeA)
	reply.Response = true
	reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: mark + ".internal.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(10, 240, 0, 1)}}
	packed, err := reply.Pack()
	if err != nil {
		panic(err)
	}
	return packet{from: from, to: to, protocol: unix.IPPROTO_UDP, body: datagram(53, 5000, packed)}.bytes()
}

// sourceRoute is the loose one, by way of some addresses.
func sourceRoute(by ...netip.Addr) []byte {
	b := []byte{131, byte(3 + 4*len(by)), 4}
	for _, a := range by {
		b = append(b, a.AsSlice()...)
	}
	return append(b, 0)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
