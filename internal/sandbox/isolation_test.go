package sandbox_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
)

func TestAContainerHasBothInterfacesAndReachesTheOutside(t *testing.T) {
	m := newMachine(t)
	b := m.container("one", 1, 0)
	want := fmt.Sprintf("eth0@if%s UP %s/32\npn0@if%s UP %s/32", "N", b.OutsideAddr, "N", b.PrivateAddr)
	if got := withoutIndexes(b.interfaces()); got != want {
		t.Errorf("interfaces are\n%s\nwant\n%s", got, want)
	}
	if routes := b.sh("ip route"); !strings.Contains(routes, "default via 172.17.0.1 dev eth0") || !strings.Contains(routes, "10.240.0.0/22 dev pn0") {
		t.Errorf("routes are\n%s", routes)
	}
	if out := b.sh("ip -6 addr; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"); strings.TrimSpace(out) != "0" {
		t.Errorf("IPv6 addresses or privileged ports: %s", out)
	}
	body := ""
	if err := in(t, b.NetnsPath, func() error {
		// The dial happens on this thread only without parallel addresses,
		// hence the connection first and the client after it.
		c, err := net.DialTimeout("tcp4", "198.51.100.10:80", 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprint(c, "GET / HTTP/1.0\r\nHost: x\r\n\r\n")
		answer, err := io.ReadAll(c)
		body = string(answer)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(body, `"source":"203.0.113.2:`) || !strings.Contains(body, http.StatusText(http.StatusOK)) {
		t.Errorf("the internet sees %s; want the node's address", body)
	}
}

// Hole a: eth0 as a way around the private networks' isolation.
func TestPrivateNetworksDoNotMeetOnTheBridge(t *testing.T) {
	m := newMachine(t)
	red, blue := m.container("red-1", 1, 0), m.container("blue-1", 2, 0)
	second := m.container("blue-2", 2, 0)
	if red.PrivateAddr != blue.PrivateAddr {
		t.Fatalf("two networks begin at %s and %s", red.PrivateAddr, blue.PrivateAddr)
	}
	m.listen(second.NetnsPath, "0.0.0.0:7000", "blue")
	target := second.PrivateAddr.String() + ":7000"
	m.wantAnswer(blue.NetnsPath, "", target, "blue")

	// red aims at the private address by way of blue-2's eth0.
	red.sh(fmt.Sprintf("ip route replace %s/32 via %s dev eth0 onlink", second.PrivateAddr, second.OutsideAddr))
	red.sh(fmt.Sprintf("ip neigh replace %s lladdr %s dev eth0", second.OutsideAddr, linkAddr(second)))
	second.sh(fmt.Sprintf("ip route replace %s/32 dev eth0", red.OutsideAddr))
	second.sh(fmt.Sprintf("ip neigh replace %s lladdr %s dev eth0", red.OutsideAddr, linkAddr(red)))
	m.wantSilence(red.NetnsPath, "", target)
	m.wantSilence(red.NetnsPath, "", second.OutsideAddr.String()+":7000")

	// Two layers close the hole: without the first the second still does,
	// without both it is open.
	m.run(m.lab.Server().Path(), "for p in $(ip -o link | grep -o 'ato-[0-9a-f]*'); do bridge link set dev $p isolated off; done")
	m.run(m.lab.Server().Path(), "cd /proc/sys/net/bridge && echo 0 > bridge-nf-call-iptables || true") // without the module there is nothing to switch off
	m.wantSilence(red.NetnsPath, "", target)
	m.nft("flush chain bridge atoll_outside prerouting")
	m.wantAnswer(red.NetnsPath, "", target, "blue")
}

func linkAddr(b box) string {
	fields := strings.Fields(b.sh("ip -o link show eth0"))
	for i, f := range fields {
		if f == "link/ether" {
			return fields[i+1]
		}
	}
	return ""
}

// Hole b: a private destination leaves by the uplink.
func TestPrivateDestinationsDoNotLeaveByTheUplink(t *testing.T) {
	m := newMachine(t)
	b := m.container("one", 1, 0)
	// The container would not believe the answer; this is about the question.
	b.sh("echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 0 >/proc/sys/net/ipv4/conf/eth0/rp_filter")
	m.run(m.lab.Internet().Path(), "ip addr add 10.240.0.99/32 dev lo; ip addr add 169.254.169.254/32 dev lo")
	m.listen(m.lab.Internet().Path(), "10.240.0.99:80", "the internet")
	m.listen(m.lab.Internet().Path(), "169.254.169.254:80", "credentials")
	before := m.drops("private")
	m.wantSilence(b.NetnsPath, "eth0", "10.240.0.99:80")
	m.wantSilence(b.NetnsPath, "", "169.254.169.254:80")
	if m.drops("private") == before || m.drops("metadata") == 0 {
		t.Error("the drops were not counted")
	}
	m.nft("flush chain ip atoll_outside forward")
	m.wantAnswer(b.NetnsPath, "eth0", "10.240.0.99:80", "the internet")
	m.wantAnswer(b.NetnsPath, "", "169.254.169.254:80", "credentials")
}

func TestOnlyTheNodeReachesOnlyThePublicPort(t *testing.T) {
	m := newMachine(t)
	web, worker, other := m.container("web", 1, 8080), m.container("worker", 1, 0), m.container("other", 2, 0)
	for _, b := range []box{web, worker} {
		m.listen(b.NetnsPath, "0.0.0.0:8080", b.InstanceID)
		m.listen(b.NetnsPath, "0.0.0.0:3000", b.InstanceID)
	}
	node, internet := m.lab.Server().Path(), m.lab.Internet().Path()
	m.run(internet, "ip route add 172.17.0.0/16 via 203.0.113.2")

	m.wantAnswer(node, "", web.OutsideAddr.String()+":8080", "web")
	m.wantSilence(node, "", web.OutsideAddr.String()+":3000")
	m.wantSilence(node, "", worker.OutsideAddr.String()+":8080")
	m.wantSilence(internet, "", web.OutsideAddr.String()+":8080")
	m.wantSilence(other.NetnsPath, "", web.OutsideAddr.String()+":8080")
	if m.drops("output") == 0 || m.drops("inbound") == 0 {
		t.Error("the drops were not counted")
	}
	// Privately both are reachable on any port.
	m.wantAnswer(web.NetnsPath, "", worker.PrivateAddr.String()+":3000", "worker")

	m.nft("flush chain ip atoll_outside output")
	m.wantAnswer(node, "", worker.OutsideAddr.String()+":8080", "worker")
	m.nft("flush chain ip atoll_outside forward; flush chain ip atoll_outside raw_prerouting")
	m.wantAnswer(internet, "", web.OutsideAddr.String()+":8080", "web")
}

func TestContainersReachOnlyPublicServicesOfTheNode(t *testing.T) {
	m := newMachine(t)
	b := m.container("one", 1, 0)
	node := m.lab.Server().Path()
	for _, port := range []string{"80", "443", "7000", "53"} {
		m.listen(node, "0.0.0.0:"+port, "port "+port)
	}
	m.wantAnswer(b.NetnsPath, "", "203.0.113.2:80", "port 80")
	m.wantAnswer(b.NetnsPath, "", "172.17.0.1:80", "port 80")
	m.wantAnswer(b.NetnsPath, "", "172.17.0.1:53", "port 53")
	m.wantSilence(b.NetnsPath, "", "203.0.113.2:7000")
	m.wantSilence(b.NetnsPath, "", "203.0.113.2:53")
	m.wantSilence(b.NetnsPath, "", "203.0.113.2:443")
	m.wantSilence(b.NetnsPath, "", "172.17.0.1:7000")
	if m.drops("node") == 0 {
		t.Error("the drops were not counted")
	}
	m.nft("flush chain ip atoll_outside input")
	m.wantAnswer(b.NetnsPath, "", "172.17.0.1:7000", "port 7000")
}

// The resolver knows askers by their source address.
func TestAContainerCannotUseANeighboursAddress(t *testing.T) {
	m := newMachine(t)
	honest, liar := m.container("honest", 1, 0), m.container("liar", 2, 0)
	var resolver net.PacketConn
	m.on(func() (err error) {
		resolver, err = net.ListenPacket("udp4", "172.17.0.1:53")
		return err
	})
	defer resolver.Close()
	heard := func(limit time.Duration) (from string) {
		resolver.SetReadDeadline(time.Now().Add(limit))
		b := make([]byte, 100)
		_, addr, err := resolver.ReadFrom(b)
		if err != nil {
			return ""
		}
		host, _, _ := net.SplitHostPort(addr.String())
		return host
	}
	send := func(b box, source netip.Addr) {
		t.Helper()
		// An alias address makes the kernel send with it.
		b.sh(fmt.Sprintf("ip addr replace %s/32 dev eth0", source))
		if err := in(t, b.NetnsPath, func() error {
			c, err := net.DialUDP("udp4", &net.UDPAddr{IP: source.AsSlice()}, &net.UDPAddr{IP: net.IPv4(172, 17, 0, 1), Port: 53})
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte("question"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	send(honest, honest.OutsideAddr)
	if from := heard(5 * time.Second); from != honest.OutsideAddr.String() {
		t.Fatalf("the honest question came from %q", from)
	}
	before := m.drops("spoofed")
	send(liar, honest.OutsideAddr)
	if from := heard(patience); from != "" {
		t.Errorf("the false question arrived, from %s", from)
	}
	if m.drops("spoofed") == before {
		t.Error("the drop was not counted")
	}
	m.nft("flush chain bridge atoll_outside prerouting")
	send(liar, honest.OutsideAddr)
	if from := heard(5 * time.Second); from != honest.OutsideAddr.String() {
		t.Errorf("without the rule the false question should arrive; heard %q", from)
	}
}

func TestSilenceWhileTheResolverIsAway(t *testing.T) {
	m := newMachine(t)
	b := m.container("one", 1, 0)
	refused := func() (refused bool) {
		if err := in(t, b.NetnsPath, func() error {
			c, err := net.Dial("udp4", "172.17.0.1:53")
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("question")); err != nil {
				return err
			}
			c.SetReadDeadline(time.Now().Add(patience))
			_, err = c.Read(make([]byte, 100))
			refused = err != nil && strings.Contains(err.Error(), unix.ECONNREFUSED.Error())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return refused
	}
	if refused() {
		t.Error("a question is refused while the resolver restarts; clients would give up at once")
	}
	m.nft("flush chain ip atoll_outside output")
	lab.WaitFor(t, 10*time.Second, "a refusal without the rule", func() (bool, error) { return refused(), nil })
}

func withoutIndexes(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		device, _, _ := strings.Cut(name, "@")
		out = append(out, device+"@ifN "+rest)
	}
	return strings.Join(out, "\n")
}
