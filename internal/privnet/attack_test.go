package privnet

import (
	"context"
	"encoding/binary"
	"maps"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestAttacks sends crafted frames from a container, for real, and looks at
// what arrives at its neighbour, at the same address of another network, and
// at the counters. The last case is the twin: a frame that is as it should be
// arrives, so a delivery would have been seen.
func TestAttacks(t *testing.T) {
	const times = 20
	s := open(t, newConfig(t))
	attacker, neighbor := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	same, elsewhere := member(t, s, 2, "10.240.0.2"), member(t, s, 2, "10.240.0.7")
	own, target := attacker.addr, neighbor.addr
	host, err := s.links.LinkByName(hostName(attacker.endpoint(1).ID))
	if err != nil {
		t.Fatal(err)
	}
	neighbor.do(func() error { // or it would answer that nobody listens
		discard, err := net.ListenPacket("udp4", "0.0.0.0:9")
		if err == nil {
			t.Cleanup(func() { discard.Close() })
		}
		return err
	})
	broadcast := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

	entries := func() (n uint64) {
		all, err := s.DropEntries(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.From == own && e.Network == 1 {
				n += e.Count
			}
		}
		return n
	}
	const arrives = Reason(1000)
	for _, c := range []struct {
		name  string
		frame []byte
		want  Reason
	}{
		{"spoofed source address", ipFrame(own, elsewhere.addr, target), SpoofedIP},
		{"spoofed source MAC", with(ipFrame(own, own, target), 6, HardwareAddr(target)...), SpoofedMAC},
		{"both spoofed", with(ipFrame(own, target, own), 6, HardwareAddr(target)...), SpoofedMAC},
		{"ARP request in another's name", arpFrame(1, own, target, elsewhere.addr), ARPForged},
		{"ARP reply in another's name", with(arpFrame(2, own, elsewhere.addr, target), 0, HardwareAddr(target)...), ARPForged},
		{"gratuitous ARP for another's address", arpFrame(1, own, target, target), ARPForged},
		{"gratuitous ARP for its own address", arpFrame(1, own, own, own), ARPOwn},
		{"ARP for an address of another network", arpFrame(1, own, own, elsewhere.addr), ARPUnknown},
		{"802.1Q tag", tagged(ipFrame(own, own, target), 0x8100), VLAN},
		{"802.1ad tag", tagged(ipFrame(own, own, target), 0x88a8), VLAN},
		{"two tags", tagged(tagged(ipFrame(own, own, target), 0x8100), 0x88a8), VLAN},
		{"IPv6 to a neighbour", with(ipFrame(own, own, target), 12, 0x86, 0xdd), IPv6},
		{"IPv6 router advertisement", with(with(ipFrame(own, own, target), 12, 0x86, 0xdd), 0, 0x33, 0x33, 0, 0, 0, 1), IPv6},
		{"broadcast", with(ipFrame(own, own, netip.MustParseAddr("255.255.255.255")), 0, broadcast...), Broadcast},
		{"broadcast to a neighbour's address", with(ipFrame(own, own, target), 0, broadcast...), Broadcast},
		{"network broadcast", ipFrame(own, own, netip.MustParseAddr("10.240.3.255")), Broadcast},
		{"multicast", with(ipFrame(own, own, netip.MustParseAddr("224.0.0.251")), 0, 1, 0, 0x5e, 0, 0, 0xfb), Multicast},
		{"multicast in unicast", with(ipFrame(own, own, netip.MustParseAddr("224.0.0.251")), 0, HardwareAddr(target)...), Multicast},
		{"address nobody has", ipFrame(own, own, netip.MustParseAddr("10.240.0.9")), UnknownDestination},
		{"address of another network", ipFrame(own, own, elsewhere.addr), UnknownDestination},
		{"metadata address", ipFrame(own, own, netip.MustParseAddr("169.254.169.254")), UnknownDestination},
		{"address of the outside network", ipFrame(own, own, netip.MustParseAddr("172.17.0.1")), UnknownDestination},
		{"MAC of the host end", with(ipFrame(own, own, target), 0, host.Attrs().HardwareAddr...), WrongMAC},
		{"source route", sourceRouted(ipFrame(own, own, target)), IPOptions},
		{"cut in the IP header", ipFrame(own, own, target)[:33], Truncated},
		{"nothing after the Ethernet header", ipFrame(own, own, target)[:14], Truncated},
		{"cut in the ARP packet", arpFrame(1, own, own, target)[:41], Truncated},
		{"LLDP", with(ipFrame(own, own, target), 12, 0x88, 0xcc), OtherEtherType},
		{"honest frame", ipFrame(own, own, target), arrives},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, remembered := drops(t, s), entries()
			received := map[*box]uint64{}
			for _, b := range []*box{neighbor, same, elsewhere} {
				received[b] = b.heard()
			}
			if c.want == arrives {
				received[neighbor] += times
			} else {
				want[c.want] += times
				remembered += times
			}
			attacker.raw(c.frame, times)

			until(t, "the switch to see the frames", func() bool {
				return sum(drops(t, s))+neighbor.heard() >= sum(want)+received[neighbor]
			})
			got := drops(t, s)
			for r, n := range want {
				if got[r] != n {
					t.Errorf("%s is %d, want %d", r, got[r], n)
				}
			}
			if got := entries(); got != remembered {
				t.Errorf("%d drops are remembered as the attacker's, want %d", got, remembered)
			}
			for b, n := range received {
				if now := b.heard(); now != n {
					t.Errorf("%s had received %d frames, want %d", b.addr, now, n)
				}
			}
		})
	}
}

// Without its program a port is a dead end: frames reach the switch namespace,
// which has nothing to say and nowhere to send them.
func TestSilenceWithoutProgram(t *testing.T) {
	s := open(t, newConfig(t))
	a, b := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	host, err := s.links.LinkByName(hostName(a.endpoint(1).ID))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.links.QdiscDel(clsact(host)); err != nil {
		t.Fatal(err)
	}
	before := host.Attrs().Statistics.RxPackets
	aHeard, bHeard := a.heard(), b.heard()
	toHost := func(f []byte) []byte { return with(f, 0, host.Attrs().HardwareAddr...) }
	a.raw(arpFrame(1, a.addr, a.addr, b.addr), 10)
	a.raw(toHost(ipFrame(a.addr, a.addr, b.addr)), 10)
	a.raw(toHost(ipFrame(a.addr, b.addr, a.addr)), 10)
	a.raw(toHost(ipFrame(a.addr, a.addr, netip.MustParseAddr("127.0.0.1"))), 10)
	until(t, "the host end to receive the frames", func() bool {
		link, err := s.links.LinkByIndex(host.Attrs().Index)
		return err == nil && link.Attrs().Statistics.RxPackets >= before+40
	})
	if a.heard() != aHeard || b.heard() != bHeard {
		t.Errorf("the containers heard %d and %d frames", a.heard()-aHeard, b.heard()-bHeard)
	}
	set(t, s, a.endpoint(1), b.endpoint(1))
	if err := a.ping(b.addr, 8, patience); err != nil {
		t.Errorf("with the program back: %v", err)
	}
}

// The switch namespace has no way in or out of its own.
func TestSwitchNamespaceIsEmpty(t *testing.T) {
	s := open(t, newConfig(t))
	member(t, s, 1, "10.240.0.1")
	s.within(t, func() error {
		addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		if len(addrs) != 0 {
			t.Errorf("addresses %v", addrs)
		}
		routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
		if err == nil && len(routes) != 0 {
			t.Errorf("routes %v", routes)
		}
		return err
	})
}

// ipFrame is an IPv4 UDP frame from the container with the address sender,
// claiming to be from, to the MAC of the member with the address to.
func ipFrame(sender, from, to netip.Addr) []byte {
	f := make([]byte, 14+20+8+16)
	copy(f, HardwareAddr(to))
	copy(f[6:], HardwareAddr(sender))
	f[12], f[13] = 0x08, 0x00
	ip := f[14:34]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(f)-14))
	ip[8], ip[9] = 64, 17
	copy(ip[12:], from.AsSlice())
	copy(ip[16:], to.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^sum16(ip))
	binary.BigEndian.PutUint16(f[34:], 9)
	binary.BigEndian.PutUint16(f[36:], 9)
	binary.BigEndian.PutUint16(f[38:], 24)
	return f
}

func arpFrame(op byte, sender, claims, about netip.Addr) []byte {
	f := make([]byte, 42)
	copy(f, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(f[6:], HardwareAddr(sender))
	copy(f[12:], []byte{0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, op})
	copy(f[22:], HardwareAddr(sender))
	copy(f[28:], claims.AsSlice())
	copy(f[38:], about.AsSlice())
	return f
}

func with(frame []byte, at int, bytes ...byte) []byte {
	copy(frame[at:], bytes)
	return frame
}

func tagged(frame []byte, etherType uint16) []byte {
	f := append([]byte{}, frame[:12]...)
	f = binary.BigEndian.AppendUint16(f, etherType)
	f = append(f, 0, 42)
	return append(f, frame[12:]...)
}

// sourceRouted adds a loose source route by way of an address.
func sourceRouted(frame []byte) []byte {
	f := append([]byte{}, frame[:34]...)
	f = append(f, 131, 7, 4, 10, 240, 0, 2, 0)
	f = append(f, frame[34:]...)
	f[14] = 0x47
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	f[24], f[25] = 0, 0
	binary.BigEndian.PutUint16(f[24:], ^sum16(f[14:42]))
	return f
}

func sum(m map[Reason]uint64) (total uint64) {
	for n := range maps.Values(m) {
		total += n
	}
	return total
}
