package outside_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/outside"
)

const bridgeSetting = "/proc/sys/net/bridge/bridge-nf-call-iptables"

// Hole c: what br_netfilter is set to must make no difference on this bridge,
// since Docker and Kubernetes need it to be 1 and others set it to 0.
func TestTheBridgeSettingMakesNoDifference(t *testing.T) {
	r := newRig(t)
	web, other := r.attach("web", "172.17.0.2", 8080), r.attach("other", "172.17.0.3", 0)
	for _, e := range []outside.Endpoint{web, other} {
		r.listen(e.ContainerNetns, "0.0.0.0:8080", e.ID)
	}
	r.listen(r.node(), "0.0.0.0:7000", "service of the node")
	// Each knows the other's MAC: only the port's isolation is between them.
	const meet = "ip route replace %[1]s dev eth0; ip neigh replace %[1]s lladdr %[2]s dev eth0"
	r.run(web.ContainerNetns, fmt.Sprintf(meet, other.Addr, r.mac(other)))
	r.run(other.ContainerNetns, fmt.Sprintf(meet, web.Addr, r.mac(web)))
	resolver := r.packets("172.17.0.1:53")

	for _, value := range r.bridgeSettings() {
		t.Run("setting "+value, func(t *testing.T) {
			r.set(value)
			r.wantAnswer(r.node(), "172.17.0.2:8080", "web")
			r.wantSilence(r.node(), "172.17.0.3:8080")
			r.wantSilence(other.ContainerNetns, "172.17.0.2:8080")
			r.wantSilence(web.ContainerNetns, "172.17.0.3:8080")
			r.wantSilence(web.ContainerNetns, "172.17.0.1:7000")
			r.in(web.ContainerNetns, func() error {
				c, err := net.Dial("udp4", "172.17.0.1:53")
				if err != nil {
					return err
				}
				defer c.Close()
				_, err = c.Write([]byte("question"))
				return err
			})
			if from, _ := heard(resolver, 5*time.Second); from != "172.17.0.2" {
				t.Errorf("the question came from %q", from)
			}
			r.send(web, frame(r.macOf(r.node(), outside.DefaultBridge), r.mac(web), typeIP, udp(other.Addr, r.net.Gateway(), 53, "forged")))
			if from, text := heard(resolver, patience); from != "" {
				t.Errorf("the resolver heard %q from %s", text, from)
			}
			if got := r.run(r.node(), "cat "+bridgeSetting+" 2>/dev/null || echo none"); value != "none" && strings.TrimSpace(got) != value {
				t.Errorf("the setting is %s, it was %s and is not ours to change", got, value)
			}
		})
	}
	t.Run("twin: without isolated ports", func(t *testing.T) {
		// The rule that a container may only talk to the gateway's MAC would
		// keep them apart as well.
		r.flush("bridge ip_of_container")
		r.run(r.node(), "bridge link set dev "+r.port(web)+" isolated off; bridge link set dev "+r.port(other)+" isolated off")
		for _, value := range r.bridgeSettings() {
			r.set(value)
			if value == "1" {
				// Only now, and only with this setting, the IP rules see it.
				r.wantSilence(web.ContainerNetns, "172.17.0.3:8080")
				continue
			}
			r.wantAnswer(web.ContainerNetns, "172.17.0.3:8080", "other")
		}
	})
}

// bridgeSettings are the values to try; one when this kernel has no such
// setting.
func (r *rig) bridgeSettings() []string {
	if _, err := os.Stat(bridgeSetting); err != nil {
		return []string{"none"}
	}
	return []string{"1", "0"}
}

func (r *rig) set(value string) {
	r.t.Helper()
	if value != "none" {
		r.run(r.node(), "echo "+value+" > "+bridgeSetting)
	}
}

// Linux takes a packet for any of its addresses on any interface, so a machine
// beside the node could ask the resolver, even in a container's name.
func TestTheUplinkDoesNotReachTheRange(t *testing.T) {
	r := newRig(t)
	web := r.attach("web", "172.17.0.2", 8080)
	r.listen(web.ContainerNetns, "0.0.0.0:8080", "web")
	r.listen(r.node(), "172.17.0.1:53", "resolver")
	resolver := r.packets("172.17.0.1:53")
	neighbour := r.lab.Internet().Path()
	r.run(neighbour, "ip addr add 172.17.0.2/32 dev lo")
	r.run(neighbour, "ip route replace 172.17.0.1/32 via 203.0.113.2")
	ask := func(from string) {
		r.in(neighbour, func() error {
			c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)}, &net.UDPAddr{IP: net.IPv4(172, 17, 0, 1), Port: 53})
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte("question"))
			return err
		})
	}
	r.wantSilence(neighbour, "172.17.0.1:53")
	for _, from := range []string{"203.0.113.1", "172.17.0.2"} {
		before := r.drops()[outside.DropInbound]
		ask(from)
		lab.WaitFor(t, 5*time.Second, "the drop to be counted", func() (bool, error) { return r.drops()[outside.DropInbound] > before, nil })
	}
	if from, text := heard(resolver, patience); from != "" {
		t.Errorf("the resolver heard %q from %s by the uplink", text, from)
	}

	t.Run("twin: without the rule", func(t *testing.T) {
		r.flush("ip raw_prerouting")
		for _, from := range []string{"203.0.113.1", "172.17.0.2"} {
			ask(from)
			if got, _ := heard(resolver, 5*time.Second); got != from {
				t.Errorf("the resolver heard %q, want %s", got, from)
			}
		}
	})
}

// What visitors reach is open to containers, on its own address only if it has
// one; the node's other services are not, whatever their port.
func TestOnlyPublicSocketsOfTheNodeAreOpen(t *testing.T) {
	r := newRig(t)
	a := r.attach("a", "172.17.0.2", 0)
	for _, port := range []string{"80", "443", "8080"} {
		r.listen(r.node(), "0.0.0.0:"+port, port)
	}
	for _, tt := range []struct {
		public string
		open   []string
	}{
		{"", nil},
		{"0.0.0.0:8080", []string{"203.0.113.2:8080", "172.17.0.1:8080"}},
		{"203.0.113.2:443", []string{"203.0.113.2:443"}},
	} {
		var public []netip.AddrPort
		if tt.public != "" {
			public = append(public, netip.MustParseAddrPort(tt.public))
		}
		r.net = r.open(outside.Config{Public: public})
		for _, addr := range []string{"203.0.113.2:80", "203.0.113.2:443", "203.0.113.2:8080", "172.17.0.1:80", "172.17.0.1:443", "172.17.0.1:8080"} {
			if got := r.ask(a.ContainerNetns, addr) != ""; got != slices.Contains(tt.open, addr) {
				t.Errorf("with %q public, %s answers: %v", tt.public, addr, got)
			}
		}
	}
}

// The kernel has one table of MACs for all containers. One that sends to every
// address of the range must not take a place in it for each.
func TestSendingToTheRangeTakesNoPlacesOfNeighbours(t *testing.T) {
	r := newRig(t)
	a := r.attach("a", "172.17.0.2", 0)
	const targets = 50
	send := func() {
		r.in(a.ContainerNetns, func() error {
			c, err := net.ListenPacket("udp4", "172.17.0.2:0")
			if err != nil {
				return err
			}
			defer c.Close()
			for i := range targets {
				if _, err := c.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.IPv4(172, 17, 1, byte(1+i)), Port: 9}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	places := func() int {
		return strings.Count(r.run(a.ContainerNetns, "ip neigh show nud all dev eth0"), "172.17.1.")
	}
	send()
	lab.WaitFor(t, 5*time.Second, "the drops to be counted", func() (bool, error) { return r.drops()[outside.DropNeighbour] >= targets, nil })
	if got := places(); got != 0 {
		t.Errorf("%d places are taken", got)
	}
	t.Run("twin: with the range on the link", func(t *testing.T) {
		r.run(a.ContainerNetns, "ip route add 172.17.0.0/16 dev eth0")
		send()
		if got := places(); got != targets {
			t.Errorf("%d places are taken, want %d", got, targets)
		}
	})
}

// A cloud's metadata service is no container's business, wherever it is: not
// with a private range allowed that has its address, either.
func TestMetadataServicesAreNotReached(t *testing.T) {
	r := newRig(t)
	a := r.attach("a", "172.17.0.2", 0)
	r.net = r.open(outside.Config{AllowPrivate: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10")}})
	internet := r.lab.Internet().Path()
	r.run(internet, "ip addr add 100.100.100.201/32 dev lo")
	r.listen(internet, "100.100.100.201:80", "allowed")
	for _, addr := range []string{"169.254.169.254", "168.63.129.16", "100.100.100.200"} {
		r.run(internet, "ip addr add "+addr+"/32 dev lo")
		r.listen(internet, addr+":80", "secrets")
		before := r.drops()[outside.DropMetadata]
		r.wantSilence(a.ContainerNetns, addr+":80")
		if r.drops()[outside.DropMetadata] == before {
			t.Errorf("the drop of a packet to %s is not counted", addr)
		}
	}
	r.wantAnswer(a.ContainerNetns, "100.100.100.201:80", "allowed")
	t.Run("twin: without the rule", func(t *testing.T) {
		r.flush("ip forward")
		for _, addr := range []string{"169.254.169.254", "168.63.129.16", "100.100.100.200"} {
			r.wantAnswer(a.ContainerNetns, addr+":80", "secrets")
		}
	})
}

// The node's own packets to its address on the bridge keep their source.
func TestTheNodeAsksItsResolverAsItself(t *testing.T) {
	r := newRig(t)
	resolver := r.packets("172.17.0.1:53")
	r.in(r.node(), func() error {
		c, err := net.Dial("udp4", "172.17.0.1:53")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("question"))
		return err
	})
	if from, _ := heard(resolver, 5*time.Second); from != "172.17.0.1" {
		t.Errorf("the resolver sees the node as %q", from)
	}
}

// Two questions at once from one socket are the case in which connection
// tracking drops one; it must not see them.
func TestQuestionsAreNotTracked(t *testing.T) {
	r := newRig(t)
	a := r.attach("a", "172.17.0.2", 0)
	resolver := r.packets("172.17.0.1:53")
	ask := func() {
		r.in(a.ContainerNetns, func() error {
			c, err := net.DialTimeout("udp4", "172.17.0.1:53", time.Second)
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("question")); err != nil {
				return err
			}
			b := make([]byte, 100)
			resolver.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, from, err := resolver.ReadFrom(b)
			if err != nil {
				return err
			}
			if _, err := resolver.WriteTo([]byte("answer"), from); err != nil {
				return err
			}
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err = c.Read(b)
			return err
		})
	}
	ask()
	if got := r.tracked("172.17.0.2"); len(got) != 0 {
		t.Errorf("tracked: %v", got)
	}
	t.Run("twin: without the rule", func(t *testing.T) {
		r.flush("ip raw_prerouting", "ip raw_output")
		ask()
		if len(r.tracked("172.17.0.2")) == 0 {
			t.Error("nothing is tracked: this test would not notice if questions were")
		}
	})
}
