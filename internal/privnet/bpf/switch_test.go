package bpf

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

// What the program answers, as the kernel numbers it.
const (
	shot     = 2
	redirect = 7
)

// The port under test: a test run's frames come in on interface 1.
const testPort = 1

// The reasons of enum drop_reason, in its order.
const (
	noPort = iota
	truncated
	vlan
	spoofedMAC
	spoofedIP
	arpForged
	arpUnknown
	arpOwn
	ipv6
	etherType
	broadcast
	multicast
	ipOptions
	unknown
	wrongMAC
	delivered = -1
)

var (
	own      = netip.MustParseAddr("10.240.0.1")
	neighbor = netip.MustParseAddr("10.240.0.2")
	nobody   = netip.MustParseAddr("10.240.0.9")
	// Only the other network has this one.
	foreign = netip.MustParseAddr("10.240.0.7")
)

func TestFrames(t *testing.T) {
	objs := load(t)

	plain := func(change func(f []byte)) []byte {
		f := ipv4Frame(own, neighbor, 64)
		change(f)
		return f
	}
	arp := func(change func(f []byte)) []byte {
		f := arpRequest(own, neighbor)
		change(f)
		return f
	}
	cases := []struct {
		name  string
		frame []byte
		want  int
	}{
		{"to a neighbour", ipv4Frame(own, neighbor, 64), delivered},
		{"to a neighbour, headers only", ipv4Frame(own, neighbor, 0), delivered},
		{"to itself", ipv4Frame(own, own, 8), delivered},
		{"first fragment", plain(func(f []byte) { f[20] = 0x20 }), delivered},
		{"last fragment", plain(func(f []byte) { f[21] = 0x10 }), delivered},
		{"padding after the packet", plain(func(f []byte) { f[17] -= 20 }), delivered},

		{"source MAC of another", plain(func(f []byte) { f[11]++ }), spoofedMAC},
		{"source MAC of the neighbour", plain(func(f []byte) { m := mac(neighbor); copy(f[6:], m[:]) }), spoofedMAC},
		{"source address of the neighbour", plain(func(f []byte) { f[29] = 2 }), spoofedIP},
		{"source address 0.0.0.0", plain(func(f []byte) { copy(f[26:], []byte{0, 0, 0, 0}) }), spoofedIP},
		{"destination MAC of the host end", plain(func(f []byte) { f[5] = 0x77 }), wrongMAC},
		{"destination MAC of itself", plain(func(f []byte) { m := mac(own); copy(f, m[:]) }), wrongMAC},
		{"destination nobody has", ipv4Frame(own, nobody, 8), unknown},
		{"destination only another network has", ipv4Frame(own, foreign, 8), unknown},
		{"destination outside", ipv4Frame(own, netip.MustParseAddr("198.51.100.1"), 8), unknown},
		{"metadata address", ipv4Frame(own, netip.MustParseAddr("169.254.169.254"), 8), unknown},

		{"broadcast MAC", plain(func(f []byte) { fill(f[:6], 0xff) }), broadcast},
		{"broadcast address of the network", ipv4Frame(own, netip.MustParseAddr("10.240.3.255"), 8), broadcast},
		{"limited broadcast address", ipv4Frame(own, netip.MustParseAddr("255.255.255.255"), 8), broadcast},
		{"multicast MAC", plain(func(f []byte) { copy(f, []byte{1, 0, 0x5e, 0, 0, 0xfb}) }), multicast},
		{"multicast address", ipv4Frame(own, netip.MustParseAddr("224.0.0.251"), 8), multicast},
		{"last multicast address", ipv4Frame(own, netip.MustParseAddr("239.255.255.255"), 8), multicast},
		{"reserved address above multicast", ipv4Frame(own, netip.MustParseAddr("240.0.0.1"), 8), unknown},

		{"IP options", plain(func(f []byte) { f[14] = 0x46 }), ipOptions},
		{"IP version 6 in an IPv4 frame", plain(func(f []byte) { f[14] = 0x65 }), truncated},
		{"header length below the least", plain(func(f []byte) { f[14] = 0x44 }), truncated},
		// An IPv4 frame without a whole header cannot be tried here: the
		// kernel refuses it as input. Package privnet sends one for real.
		{"length longer than the frame", plain(func(f []byte) { f[17]++ }), truncated},
		{"length shorter than the header", plain(func(f []byte) { f[16], f[17] = 0, 19 }), truncated},

		{"IPv6", plain(func(f []byte) { f[12], f[13] = 0x86, 0xdd }), ipv6},
		{"802.1Q", plain(func(f []byte) { f[12], f[13] = 0x81, 0x00 }), vlan},
		{"802.1ad", plain(func(f []byte) { f[12], f[13] = 0x88, 0xa8 }), vlan},
		{"LLDP", plain(func(f []byte) { f[12], f[13] = 0x88, 0xcc }), etherType},
		{"802.3 length", plain(func(f []byte) { f[12], f[13] = 0, 60 }), etherType},

		{"ARP as the neighbour", arp(func(f []byte) { f[31] = 2 }), arpForged},
		{"ARP with another's MAC", arp(func(f []byte) { f[27]++ }), arpForged},
		{"ARP reply, honest", arp(func(f []byte) { f[21] = 2 }), arpForged},
		{"ARP probe from 0.0.0.0", arp(func(f []byte) { copy(f[28:], []byte{0, 0, 0, 0}) }), arpForged},
		{"ARP frame with another's source MAC", arp(func(f []byte) { f[11]++ }), spoofedMAC},
		{"ARP for nobody", arpRequest(own, nobody), arpUnknown},
		{"ARP for another network's member", arpRequest(own, foreign), arpUnknown},
		{"gratuitous ARP", arpRequest(own, own), arpOwn},
		{"ARP cut short", arpRequest(own, neighbor)[:41], truncated},
		{"ARP of another hardware", arp(func(f []byte) { f[15] = 6 }), truncated},
		{"ARP with long addresses", arp(func(f []byte) { f[18] = 8 }), truncated},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := drops(t, objs)
			verdict := run(t, objs, c.frame)
			after := drops(t, objs)

			want := before
			wantVerdict := uint32(redirect)
			if c.want != delivered {
				want[c.want]++
				wantVerdict = shot
			}
			if verdict != wantVerdict {
				t.Errorf("verdict %d, want %d", verdict, wantVerdict)
			}
			if after != want {
				t.Errorf("drops went from %v to %v", before, after)
			}
		})
	}
}

func TestNoPort(t *testing.T) {
	objs := load(t)
	if err := objs.PnPorts.Delete(uint32(testPort)); err != nil {
		t.Fatal(err)
	}
	if got := run(t, objs, ipv4Frame(own, neighbor, 8)); got != shot {
		t.Errorf("verdict %d, want %d", got, shot)
	}
	if got := drops(t, objs)[noPort]; got != 1 {
		t.Errorf("%d drops for want of a port, want 1", got)
	}
}

func TestARPReply(t *testing.T) {
	objs := load(t)
	out := make([]byte, 128)
	opts := &ebpf.RunOptions{Data: arpRequest(own, neighbor), DataOut: out}
	verdict, err := objs.SwitchFrame.Run(opts)
	if err != nil {
		t.Fatal(err)
	}
	if verdict != redirect {
		t.Fatalf("verdict %d, want %d", verdict, redirect)
	}
	us, them := mac(own), mac(neighbor)
	want := append(append([]byte{}, us[:]...), them[:]...)
	want = append(want, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2)
	want = append(append(want, them[:]...), neighbor.AsSlice()...)
	want = append(append(want, us[:]...), own.AsSlice()...)
	if got := opts.DataOut; string(got) != string(want) {
		t.Errorf("reply\n% x, want\n% x", got, want)
	}
}

// The same address exists in two networks; which one a frame means is decided
// by the port alone.
func TestNetworkOfThePortDecides(t *testing.T) {
	objs := load(t)
	toForeign := ipv4Frame(own, foreign, 8)
	if got := run(t, objs, toForeign); got != shot {
		t.Errorf("verdict %d in network 1, want %d", got, shot)
	}
	put(t, objs.PnPorts, uint32(testPort), SwitchPort{Network: 2, Addr: word(own), Mac: words(own)})
	if got := run(t, objs, toForeign); got != redirect {
		t.Errorf("verdict %d in network 2, want %d", got, redirect)
	}
	if got := run(t, objs, ipv4Frame(own, neighbor, 8)); got != redirect {
		t.Errorf("verdict %d for the address both networks have, want %d", got, redirect)
	}
}

func BenchmarkFrame(b *testing.B) {
	enforce := func(objs *SwitchObjects) {
		const id, ownGroup, neighborGroup = 1, 11, 22
		put(b, objs.PnPorts, uint32(testPort), SwitchPort{Network: 1, Addr: word(own), Mac: words(own), Group: ownGroup})
		put(b, objs.PnMembers, SwitchMemberKey{Network: 1, Addr: word(neighbor)}, SwitchMember{Ifindex: 2, Mac: words(neighbor), Group: neighborGroup})
		p := SwitchPolicy{Id: id, Mode: 2, Shapes: 1}
		p.Shape[0] = SwitchShape{From: ^uint32(0), To: ^uint32(0), Port: ^uint16(0), Protocol: ^uint8(0)}
		for i := range uint32(100) {
			put(b, objs.PnRules, SwitchRuleKey{Policy: id, From: ownGroup, To: neighborGroup, Protocol: 17, Port: uint16(i)}, uint32(1))
		}
		put(b, objs.PnPolicies, uint32(1), p)
	}
	for name, c := range map[string]struct {
		frame   []byte
		bare    uint32
		prepare func(*SwitchObjects)
	}{
		"deliver":                        {frame: ipv4Frame(own, neighbor, 64)},
		"deliver, 100 rules":             {frame: ipv4Frame(own, neighbor, 64), prepare: enforce},
		"deliver, no policies and flows": {frame: ipv4Frame(own, neighbor, 64), bare: 1},
		"spoofed":                        {frame: ipv4Frame(nobody, neighbor, 64)},
	} {
		b.Run(name, func(b *testing.B) {
			objs := loadWith(b, c.bare)
			if c.prepare != nil {
				c.prepare(objs)
			}
			_, per, err := objs.SwitchFrame.Benchmark(c.frame, b.N, b.ResetTimer)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(per.Nanoseconds()), "ns/frame")
		})
	}
}

// load loads the program with one port (own, network 1) and its neighbours.
func load(t testing.TB) *SwitchObjects {
	t.Helper()
	return loadWith(t, 0)
}

func loadWith(t testing.TB, bare uint32) *SwitchObjects {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: loads a BPF program")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	spec, err := LoadSwitch()
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Variables[SwitchVarBare].Set(bare); err != nil {
		t.Fatal(err)
	}
	objs := new(SwitchObjects)
	if err := spec.LoadAndAssign(objs, nil); err != nil {
		t.Fatalf("cannot load the program: %+v", err)
	}
	t.Cleanup(func() { objs.Close() })

	put(t, objs.PnPorts, uint32(testPort), SwitchPort{Network: 1, Addr: word(own), Mac: words(own)})
	for _, m := range []struct {
		network uint32
		addr    netip.Addr
	}{{1, own}, {1, neighbor}, {2, neighbor}, {2, foreign}} {
		put(t, objs.PnMembers, SwitchMemberKey{Network: m.network, Addr: word(m.addr)},
			SwitchMember{Ifindex: 2, Mac: words(m.addr)})
	}
	return objs
}

func put(t testing.TB, m *ebpf.Map, key, value any) {
	t.Helper()
	if err := m.Put(key, value); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, objs *SwitchObjects, frame []byte) uint32 {
	t.Helper()
	verdict, _, err := objs.SwitchFrame.Test(frame)
	if err != nil {
		t.Fatal(err)
	}
	return verdict
}

func drops(t *testing.T, objs *SwitchObjects) (sums [64]uint64) {
	t.Helper()
	for i := range sums {
		var perCPU []uint64
		if err := objs.PnDrops.Lookup(uint32(i), &perCPU); err != nil {
			t.Fatal(err)
		}
		for _, n := range perCPU {
			sums[i] += n
		}
	}
	return sums
}

func ipv4Frame(from, to netip.Addr, payload int) []byte {
	f := make([]byte, 34+payload)
	dst, src := mac(to), mac(own)
	copy(f, dst[:])
	copy(f[6:], src[:])
	f[12], f[13] = 0x08, 0x00
	f[14] = 0x45
	binary.BigEndian.PutUint16(f[16:], uint16(20+payload))
	f[22], f[23] = 64, 17
	copy(f[26:], from.AsSlice())
	copy(f[30:], to.AsSlice())
	return f
}

func arpRequest(from, target netip.Addr) []byte {
	f := make([]byte, 42)
	src := mac(own)
	fill(f[:6], 0xff)
	copy(f[6:], src[:])
	copy(f[12:], []byte{0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1})
	copy(f[22:], src[:])
	copy(f[28:], from.AsSlice())
	copy(f[38:], target.AsSlice())
	return f
}

func mac(addr netip.Addr) [6]byte {
	a := addr.As4()
	return [6]byte{2, 1, a[0], a[1], a[2], a[3]}
}

func words(addr netip.Addr) (w [3]uint16) {
	m := mac(addr)
	for i := range w {
		w[i] = binary.NativeEndian.Uint16(m[2*i:])
	}
	return w
}

func word(addr netip.Addr) uint32 {
	a := addr.As4()
	return binary.NativeEndian.Uint32(a[:])
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}
