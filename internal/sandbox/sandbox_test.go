package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/sandbox"
)

func TestExhaustionIsAClearErrorThatChangesNothing(t *testing.T) {
	m := newMachine(t)
	now := time.Now()
	m.on(func() (err error) {
		// Five addresses are left for containers.
		m.manager, err = sandbox.New(sandbox.Config{RunDir: m.lab.Dir(), Private: m.private, Outside: m.outside,
			OutsidePrefix: netip.MustParsePrefix("172.17.0.0/29"), Now: func() time.Time { return now }})
		return err
	})
	m.restore()
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		m.container(id, 1, 0)
	}
	state := func() string {
		return m.run(m.lab.Server().Path(), "ip -o link | cut -d: -f2; nft list set bridge atoll_outside ports; ls "+m.lab.Dir()+"/netns/containers "+m.lab.Dir()+"/sandboxes")
	}
	before := state()
	m.on(func() error {
		s, err := m.manager.Setup(t.Context(), request("f", 1, 0))
		if !errors.As(err, new(*outside.FullError)) || !strings.Contains(err.Error(), "--outside-prefix") || s != (sandbox.Sandbox{}) {
			t.Errorf("%+v, %v; want a FullError that says what to do", s, err)
		}
		return nil
	})
	if after := state(); after != before {
		t.Errorf("it changed from\n%s\nto\n%s", before, after)
	}
	// Tried again and again, it does not use the other network up either.
	m.on(func() error {
		for range privnet.Capacity + 10 {
			if _, err := m.manager.Setup(t.Context(), request("f", 1, 0)); !errors.As(err, new(*outside.FullError)) {
				return fmt.Errorf("the outside network is full, but: %w", err)
			}
		}
		return nil
	})

	// One that is removed makes room, once its addresses have rested.
	m.on(func() error { return m.manager.Teardown(t.Context(), "c") })
	m.on(func() error {
		if _, err := m.manager.Setup(t.Context(), request("f", 1, 0)); !errors.As(err, new(*outside.FullError)) {
			t.Errorf("an address was given away without rest (%v)", err)
		}
		now = now.Add(2 * outside.MinRest)
		s, err := m.manager.Setup(t.Context(), request("f", 1, 0))
		if err == nil && s.OutsideAddr.String() != "172.17.0.4" {
			t.Errorf("f has %s, want what c had", s.OutsideAddr)
		}
		return err
	})
}

// refusing is an outside network that has no room.
type refusing struct{ sandbox.Outside }

func (refusing) Attach(context.Context, outside.Endpoint) error { return errors.New("no room") }

// An attempt that fails uses no addresses up: they were never anybody's, and
// need not rest.
func TestAFailedSetupLeavesNothing(t *testing.T) {
	m := newMachine(t)
	m.on(func() (err error) {
		m.manager, err = sandbox.New(sandbox.Config{RunDir: m.lab.Dir(), Private: m.private, Outside: refusing{m.outside}, OutsidePrefix: netip.MustParsePrefix("172.17.0.0/29")})
		return err
	})
	m.restore()
	state := func() string {
		return m.run(m.lab.Server().Path(), "ip -o link | cut -d: -f2; nft list set bridge atoll_outside ports; ls "+m.lab.Dir()+"/netns/containers "+m.lab.Dir()+"/sandboxes")
	}
	before := state()
	m.on(func() error {
		for range 20 { // there are five outside addresses
			if _, err := m.manager.Setup(t.Context(), request("a", 1, 0)); err == nil || !strings.Contains(err.Error(), "no room") {
				return fmt.Errorf("error is %w, want that of the network", err)
			}
		}
		return nil
	})
	if after := state(); after != before {
		t.Errorf("it changed from\n%s\nto\n%s", before, after)
	}
}

func TestARepeatedSetupMustAskForTheSame(t *testing.T) {
	m := newMachine(t)
	first := m.container("a", 1, 8080)
	if again := m.container("a", 1, 8080); again.Sandbox != first.Sandbox {
		t.Errorf("got %+v, then %+v", first.Sandbox, again.Sandbox)
	}
	m.on(func() error {
		for _, other := range []sandbox.Request{request("a", 2, 8080), request("a", 1, 0)} {
			if s, err := m.manager.Setup(t.Context(), other); err == nil {
				t.Errorf("asking for %+v gave %+v", other, s)
			}
		}
		return nil
	})
}

func TestSettingsOfAContainersNamespace(t *testing.T) {
	m := newMachine(t)
	b := m.container("a", 1, 0)
	for path, want := range map[string]string{
		"net/ipv4/ip_unprivileged_port_start": "0",
		"net/ipv4/conf/all/arp_ignore":        "1",
		"net/ipv4/conf/all/arp_announce":      "2",
		"net/ipv4/conf/all/rp_filter":         "1",
		"net/ipv6/conf/all/disable_ipv6":      "1",
		"net/ipv6/conf/default/disable_ipv6":  "1",
	} {
		if got := strings.TrimSpace(b.sh("cat /proc/sys/" + path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if lo := b.sh("ip -o link show lo"); !strings.Contains(lo, ",UP") {
		t.Errorf("loopback is %s", lo)
	}
	// On eth0 nobody is told about the address of pn0.
	m.run(m.lab.Server().Path(), "ip addr flush dev uplink0; ip route add "+b.PrivateAddr.String()+" dev atoll0 || true")
	m.run(m.lab.Server().Path(), "nft flush chain ip atoll_outside output; ping -c1 -W1 "+b.PrivateAddr.String()+" || true")
	if neighbours := m.run(m.lab.Server().Path(), "ip neigh show "+b.PrivateAddr.String()); strings.Contains(neighbours, "lladdr") {
		t.Errorf("the container answered for its private address on eth0: %s", neighbours)
	}
	b.sh("echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_ignore")
	m.run(m.lab.Server().Path(), "nft flush chain bridge atoll_outside prerouting; ip neigh flush dev atoll0; ping -c1 -W1 "+b.PrivateAddr.String()+" || true")
	if neighbours := m.run(m.lab.Server().Path(), "ip neigh show "+b.PrivateAddr.String()); !strings.Contains(neighbours, "lladdr") {
		t.Errorf("twin: without the setting it should answer: %s", neighbours)
	}
}

// Hole c: private traffic must not enter the node's connection tracking, where
// equal connections of two networks would become one.
func TestPrivateTrafficIsNotTrackedOnTheNode(t *testing.T) {
	m := newMachine(t)
	node := m.lab.Server().Path()
	if !strings.Contains(m.run(node, "cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || echo none"), "none") {
		m.run(node, "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables")
	}
	m.listen(m.lab.Internet().Path(), "198.51.100.10:9000", "the internet")
	for _, network := range []struct {
		name string
		key  uint32
	}{{"red", 1}, {"blue", 2}} {
		a, b := m.container(network.name+"-1", network.key, 0), m.container(network.name+"-2", network.key, 0)
		if a.PrivateAddr.String() != "10.240.0.1" || b.PrivateAddr.String() != "10.240.0.2" {
			t.Fatalf("%s has %s and %s", network.name, a.PrivateAddr, b.PrivateAddr)
		}
		m.listen(b.NetnsPath, "0.0.0.0:7000", network.name)
		m.wantAnswer(a.NetnsPath, "", "10.240.0.2:7000", network.name)
		// Something that is tracked, to see that tracking is on.
		m.wantAnswer(a.NetnsPath, "", "198.51.100.10:9000", "the internet")
	}
	if flows := m.tracked("10.240.0.1"); len(flows) != 0 {
		t.Errorf("tracked on the node: %v", flows)
	}
	if flows := m.tracked("172.17.0.2"); len(flows) == 0 {
		t.Error("nothing is tracked on the node: this test would not notice")
	}
}

// tracked lists the node's tracked connections of a source address.
func (m *machine) tracked(source string) (flows []string) {
	m.t.Helper()
	m.on(func() error {
		all, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		for _, f := range all {
			if f.Forward.SrcIP.Equal(net.ParseIP(source)) {
				flows = append(flows, f.String())
			}
		}
		return err
	})
	return flows
}
