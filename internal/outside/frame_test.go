package outside_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/outside"
)

const (
	typeIP   = 0x0800
	typeARP  = 0x0806
	typeVLAN = 0x8100
	typeIPv6 = 0x86dd
)

// A process with raw sockets must not be able to speak as another container:
// the resolver knows askers by their address. Every forged frame is counted,
// so none is only late.
func TestForgedFramesAreDropped(t *testing.T) {
	r := newRig(t)
	honest, liar := r.attach("honest", "172.17.0.2", 0), r.attach("liar", "172.17.0.3", 0)
	gw, node, far := netip.MustParseAddr("172.17.0.1"), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("198.51.100.77")
	own, others, gwMAC := r.mac(liar), r.mac(honest), r.macOf(r.node(), outside.DefaultBridge)
	resolver, service := r.packets("172.17.0.1:53"), r.packets("203.0.113.2:7000")

	question := func(from netip.Addr) []byte { return udp(from, gw, 53, "question") }
	forged := []struct {
		name, counter string
		frame         []byte
	}{
		{"the address of another", outside.DropSpoofed, frame(gwMAC, own, typeIP, question(honest.Addr))},
		{"the MAC of another", outside.DropSpoofed, frame(gwMAC, others, typeIP, question(liar.Addr))},
		{"both of another", outside.DropSpoofed, frame(gwMAC, others, typeIP, question(honest.Addr))},
		{"the gateway's address", outside.DropSpoofed, frame(gwMAC, own, typeIP, question(gw))},
		{"an address of the internet", outside.DropSpoofed, frame(gwMAC, own, typeIP, question(netip.MustParseAddr("198.51.100.10")))},
		{"ARP with the address of another", outside.DropSpoofed, frame(gwMAC, own, typeARP, arp(own, honest.Addr, gw))},
		{"ARP with the MAC of another inside", outside.DropSpoofed, frame(gwMAC, own, typeARP, arp(others, liar.Addr, gw))},
		{"ARP from the MAC of another", outside.DropSpoofed, frame(gwMAC, others, typeARP, arp(own, liar.Addr, gw))},
		{"IPv6", outside.DropProtocol, frame(gwMAC, own, typeIPv6, make([]byte, 40))},
		{"a VLAN tag", outside.DropProtocol, frame(gwMAC, own, typeVLAN, append([]byte{0, 5, 8, 0}, question(honest.Addr)...))},
		{"a VLAN tag of priority", outside.DropProtocol, frame(gwMAC, own, typeVLAN, append([]byte{0, 0, 8, 0}, question(honest.Addr)...))},
		{"an unknown protocol", outside.DropProtocol, frame(gwMAC, own, 0x88b5, make([]byte, 46))},
		// The bridge does not handle these groups: it leaves them to the
		// node as packets of the port, not of the bridge.
		{"by the group of LLDP", outside.DropBypass, frame(group(0x0e), own, typeIP, question(honest.Addr))},
		{"by the group of 802.1X", outside.DropBypass, frame(group(0x03), own, typeIP, question(honest.Addr))},
		{"by a group, to a service of the node", outside.DropBypass, frame(group(0x0e), own, typeIP, udp(liar.Addr, node, 7000, "hello"))},
		{"ARP by a group, with the address of another", outside.DropBypass, frame(group(0x0e), own, typeARP, arp(own, honest.Addr, gw))},
		{"ARP by a group, with an address of the internet", outside.DropBypass, frame(group(0x0e), own, typeARP, arp(own, far, node))},
		{"ARP by the group of 802.1X", outside.DropBypass, frame(group(0x03), own, typeARP, arp(own, far, node))},
	}
	for _, f := range forged {
		before := r.drops()[f.counter]
		r.send(liar, f.frame)
		lab.WaitFor(t, 5*time.Second, "the drop of a frame with "+f.name, func() (bool, error) { return r.drops()[f.counter] == before+1, nil })
	}
	if from, text := heard(resolver, patience); from != "" {
		t.Errorf("the resolver heard %q from %s", text, from)
	}
	if from, text := heard(service, patience); from != "" {
		t.Errorf("a service of the node heard %q from %s", text, from)
	}
	believes := func(addr netip.Addr) bool {
		return strings.Contains(r.run(r.node(), "ip neigh show "+addr.String()), own.String())
	}
	for _, addr := range []netip.Addr{honest.Addr, far} {
		if believes(addr) {
			t.Errorf("the node believes that the liar has %s", addr)
		}
	}
	r.send(liar, frame(gwMAC, own, typeIP, question(liar.Addr)))
	if from, _ := heard(resolver, 5*time.Second); from != liar.Addr.String() {
		t.Errorf("the honest question came from %q", from)
	}

	t.Run("twin: without the pin", func(t *testing.T) {
		r.flush("bridge prerouting")
		r.send(liar, frame(gwMAC, own, typeIP, question(honest.Addr)))
		if from, _ := heard(resolver, 5*time.Second); from != honest.Addr.String() {
			t.Errorf("the forged question came from %q", from)
		}
		r.send(liar, frame(gwMAC, own, typeARP, arp(own, honest.Addr, gw)))
		lab.WaitFor(t, 5*time.Second, "the node to believe the liar", func() (bool, error) { return believes(honest.Addr), nil })
	})
	t.Run("twin: without the rules for what goes around the bridge", func(t *testing.T) {
		r.flush("ip raw_prerouting")
		r.send(liar, frame(group(0x0e), own, typeIP, question(honest.Addr)))
		if from, _ := heard(resolver, 5*time.Second); from != honest.Addr.String() {
			t.Errorf("the forged question came from %q", from)
		}
		r.send(liar, frame(group(0x03), own, typeIP, udp(netip.MustParseAddr("198.51.100.10"), node, 7000, "hello")))
		if from, _ := heard(service, 5*time.Second); from != "198.51.100.10" {
			t.Errorf("the service heard from %q", from)
		}
		r.flush("arp input")
		r.send(liar, frame(group(0x0e), own, typeARP, arp(own, far, node)))
		lab.WaitFor(t, 5*time.Second, "the node to believe the liar", func() (bool, error) { return believes(far), nil })
	})
}

// What connection tracking calls invalid is not masqueraded: it would leave
// the machine with the container's own address.
func TestInvalidPacketsDoNotLeave(t *testing.T) {
	r := newRig(t)
	a := r.attach("a", "172.17.0.2", 0)
	from, to := r.mac(a), r.macOf(r.node(), outside.DefaultBridge)
	far := netip.MustParseAddr("198.51.100.10")
	wire := r.wire(r.lab.Internet().Path())
	// An answer that nobody asked for, and a connection that begins and ends.
	echoReply := []byte{0, 0, 0xff, 0xfd, 0, 1, 0, 1}
	synFin := []byte{0x13, 0x89, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 3, 0xff, 0, 0, 0, 0, 0}
	invalid := map[string][]byte{"an echo reply": ipv4(a.Addr, far, unix.IPPROTO_ICMP, echoReply), "SYN and FIN": ipv4(a.Addr, far, unix.IPPROTO_TCP, synFin)}
	for name, packet := range invalid {
		before := r.drops()[outside.DropInvalid]
		r.send(a, frame(to, from, typeIP, packet))
		lab.WaitFor(t, 5*time.Second, "the drop of "+name, func() (bool, error) { return r.drops()[outside.DropInvalid] == before+1, nil })
	}
	r.send(a, frame(to, from, typeIP, udp(a.Addr, far, 9, "valid")))
	if got := wire(unix.IPPROTO_UDP); got != "203.0.113.2" {
		t.Errorf("a valid packet left as %q", got)
	}
	t.Run("twin: without the rule", func(t *testing.T) {
		r.flush("ip forward")
		for name, packet := range invalid {
			r.send(a, frame(to, from, typeIP, packet))
			if got := wire(packet[9]); got != "172.17.0.2" {
				t.Errorf("%s left as %q: this test would not notice if it did", name, got)
			}
		}
	})
}

// wire hears what comes in at a namespace; what it returns tells the source of
// the next packet of a protocol, "" if none comes.
func (r *rig) wire(path string) func(protocol byte) string {
	r.t.Helper()
	var fd int
	r.in(path, func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{0x08, 0x00}))); err != nil {
			return err
		}
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	})
	r.t.Cleanup(func() { unix.Close(fd) })
	return func(protocol byte) string {
		for b := make([]byte, 2000); ; {
			n, from, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				return ""
			}
			if sll, ok := from.(*unix.SockaddrLinklayer); ok && sll.Pkttype != unix.PACKET_OUTGOING && n > 19 && b[9] == protocol {
				return net.IP(b[12:16]).String()
			}
		}
	}
}

// What does not know its place is not sent to everybody.
func TestPortsDoNotSeeEachOthersPackets(t *testing.T) {
	r := newRig(t)
	a, b := r.attach("a", "172.17.0.2", 0), r.attach("b", "172.17.0.3", 0)
	r.listen(a.ContainerNetns, "0.0.0.0:80", "a")
	for _, e := range []outside.Endpoint{a, b} {
		port := r.run(r.node(), "bridge -d link | grep -A1 "+r.port(e))
		for _, flag := range []string{"isolated on", "learning off", " flood off", "mcast_flood off"} {
			if !strings.Contains(port, flag) {
				t.Errorf("port of %s is not %q:\n%s", e.ID, flag, port)
			}
		}
	}
	if fdb := r.run(r.node(), "bridge fdb show br "+outside.DefaultBridge); !strings.Contains(fdb, r.mac(a).String()+" dev "+r.port(a)+" master atoll0 static") {
		t.Errorf("the bridge does not know where a is:\n%s", fdb)
	}
}

// port is the name of an endpoint's host end.
func (r *rig) port(e outside.Endpoint) string {
	r.t.Helper()
	for line := range strings.Lines(r.run(r.node(), "ip -o link show type veth")) {
		if strings.Contains(line, "alias "+e.ID+"\n") || strings.HasSuffix(strings.TrimSpace(line), "alias "+e.ID) {
			name, _, _ := strings.Cut(strings.Fields(line)[1], "@")
			return name
		}
	}
	r.t.Fatalf("%s has no host end", e.ID)
	return ""
}

func (r *rig) mac(e outside.Endpoint) net.HardwareAddr {
	r.t.Helper()
	return r.macOf(e.ContainerNetns, outside.Interface)
}

func (r *rig) macOf(path, name string) (mac net.HardwareAddr) {
	r.t.Helper()
	r.in(path, func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			mac = i.HardwareAddr
		}
		return err
	})
	return mac
}

// send puts a frame on a container's wire as it is.
func (r *rig) send(e outside.Endpoint, frame []byte) {
	r.t.Helper()
	r.in(e.ContainerNetns, func() error {
		i, err := net.InterfaceByName(outside.Interface)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index})
	})
}

func group(last byte) net.HardwareAddr { return net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, last} }

func frame(to, from net.HardwareAddr, protocol uint16, body []byte) []byte {
	b := append(append([]byte{}, to...), from...)
	return append(binary.BigEndian.AppendUint16(b, protocol), body...)
}

// arp is a question of the sender for the target.
func arp(mac net.HardwareAddr, sender, target netip.Addr) []byte {
	b := append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, mac...)
	b = append(append(b, sender.AsSlice()...), make([]byte, 6)...)
	return append(b, target.AsSlice()...)
}

// udp is an IPv4 packet, from port 5000; UDP may go without a checksum.
func udp(from, to netip.Addr, port uint16, text string) []byte {
	head := binary.BigEndian.AppendUint16([]byte{0x13, 0x88}, port)
	head = binary.BigEndian.AppendUint16(head, uint16(8+len(text)))
	return ipv4(from, to, unix.IPPROTO_UDP, append(append(head, 0, 0), text...))
}

// ipv4 is a packet without options.
func ipv4(from, to netip.Addr, protocol byte, body []byte) []byte {
	b := make([]byte, 20, 20+len(body))
	b[0], b[8], b[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(body)))
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum>>16+sum&0xffff))
	return append(b, body...)
}
