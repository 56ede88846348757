package outside_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/outside"
)

// tracked lists the node's tracked connections of a source address.
func (r *rig) tracked(source string) (flows []string) {
	r.t.Helper()
	r.in(r.node(), func() error {
		all, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		seen := map[string]bool{}
		for _, f := range all {
			// A list is made while others' connections come and go in the same
			// table, and may show one twice.
			t := f.Forward
			key := fmt.Sprint(t.Protocol, t.SrcIP, t.SrcPort, t.DstIP, t.DstPort)
			if t.SrcIP.String() == source && !seen[key] {
				seen[key] = true
				flows = append(flows, f.String())
			}
		}
		return err
	})
	return flows
}

// A bridge has 1023 ports. One container more is refused with a sentence, and
// leaves nothing.
func TestAttachToAFullBridge(t *testing.T) {
	lab.NeedRoot(t)
	r := newRig(t)
	r.attach("first", "172.17.0.2", 0)
	const others = 1022
	r.run(r.node(), fmt.Sprintf(`for i in $(seq 1 2 %d); do
		echo "link add filler$i type veth peer name filler$((i+1))"
		echo "link set filler$i master atoll0"; echo "link set filler$((i+1)) master atoll0"
	done | ip -batch -`, others))
	room := func(want int) {
		t.Helper()
		r.in(r.node(), func() error {
			used, room, err := outside.Room(outside.Config{})
			if err == nil && (used != want || room != 1023) {
				t.Errorf("%d of %d ports are in use, want %d of 1023", used, room, want)
			}
			return err
		})
	}
	room(1023)
	state := func() string {
		return r.run(r.node(), "ip -o link show type veth | grep -c .; nft list set bridge atoll_outside ports")
	}
	before := state()
	e := r.endpoint("last", "172.17.0.3", 0)
	var full *outside.FullError
	if err := r.net.Attach(t.Context(), e); !errors.As(err, &full) || full.Next != 0 || !strings.Contains(err.Error(), "1023 ports") {
		t.Fatalf("error is %v, want a FullError that says why", err)
	}
	if after := state(); after != before {
		t.Errorf("it changed from\n%s\nto\n%s", before, after)
	}
	if err := r.net.Detach(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	room(1022)
	if err := r.net.Attach(t.Context(), e); err != nil {
		t.Errorf("there is room again, but: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	lab.NeedRoot(t)
	r := newRig(t)
	for _, c := range []struct{ name, setup, prefix, want, suggests string }{
		{"an interface's range", "ip link add docker9 type bridge; ip addr add 172.20.0.1/16 dev docker9; ip link set docker9 up", "172.20.0.0/16", "docker9", "172.18.0.0/16"},
		// No route leads there as long as it is down.
		{"an interface that is down", "ip link add down9 type bridge; ip addr add 172.28.0.1/14 dev down9", "172.29.0.0/16", "down9", ""},
		{"a part of a route", "ip route add 172.24.0.0/14 via 203.0.113.1", "172.25.0.0/16", "uplink0", ""},
		{"a route of another table", "ip route add 172.22.0.0/16 via 203.0.113.1 table 77", "172.22.0.0/16", "uplink0", ""},
		{"a route to nowhere", "ip route add blackhole 172.23.0.0/16", "172.23.0.0/16", "a route of this machine", ""},
		{"the range that is suggested first", "ip route add 172.18.7.0/24 via 203.0.113.1", "172.18.0.0/16", "uplink0", "172.19.0.0/16"},
		{"the private range", "", "10.240.0.0/16", "the range of private networks", ""},
		{"the loopback", "", "127.1.0.0/16", "loopback", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.setup != "" {
				r.run(r.node(), c.setup)
			}
			_, err := r.tryOpen(outside.Config{Bridge: "atoll9", Prefix: netip.MustParsePrefix(c.prefix)})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--outside-prefix") {
				t.Fatalf("error is %v; want one that names %q and the flag", err, c.want)
			}
			if c.suggests != "" && !strings.Contains(err.Error(), "for instance "+c.suggests) {
				t.Errorf("error is %v; want one that suggests %s", err, c.suggests)
			}
		})
	}
	// Halves of everything are what VPN clients make of a default route.
	r.run(r.node(), "ip route add 128.0.0.0/1 via 203.0.113.1")
	r.open(outside.Config{})

	for _, cfg := range []outside.Config{
		// One namespace holds one outside network.
		{Bridge: "atoll9", Prefix: netip.MustParsePrefix("172.19.0.0/16")},
		{Bridge: `a" accept #`},
		{Bridge: "ato-mine"},
		{MTU: 20},
		{Public: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}},
		{Public: []netip.AddrPort{netip.MustParseAddrPort("[::]:80")}},
		{Prefix: netip.MustParsePrefix("172.17.0.0/30")},
		{Prefix: netip.MustParsePrefix("fd00::/64")},
		{Bridge: "uplink0"},
	} {
		if _, err := r.tryOpen(cfg); err == nil {
			t.Errorf("%+v was opened", cfg)
		}
	}
	if links := r.run(r.node(), "ip -o link"); strings.Contains(links, "atoll9") {
		t.Errorf("a refused network left its bridge:\n%s", links)
	}
}

func TestTheRangeChangesOnlyWithoutContainers(t *testing.T) {
	r := newRig(t)
	r.attach("a", "172.17.0.2", 0)
	other := outside.Config{Prefix: netip.MustParsePrefix("172.18.0.0/16")}
	if _, err := r.tryOpen(other); err == nil || !strings.Contains(err.Error(), "172.17.0.1/16") {
		t.Fatalf("error is %v; want one that names the former range", err)
	}
	if err := r.net.Detach(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	r.net = r.open(other)
	if addrs := r.run(r.node(), "ip -4 -o addr show dev atoll0"); strings.Contains(addrs, "172.17.") || !strings.Contains(addrs, "172.18.0.1/16") {
		t.Errorf("the bridge has\n%s", addrs)
	}
}

func TestOpenTellsOfFirewallsThatDrop(t *testing.T) {
	r := newRig(t)
	if strings.Contains(r.log.String(), "Another firewall") {
		t.Fatalf("there is none, but: %s", r.log.String())
	}
	if !strings.Contains(r.log.String(), "ip_forward=1") {
		t.Errorf("not said that forwarding was switched on: %s", r.log.String())
	}
	r.run(r.node(), "nft 'add table inet ufw; add chain inet ufw fwd_chain { type filter hook forward priority 0; policy drop; }'")
	r.open(outside.Config{})
	if !strings.Contains(r.log.String(), "inet ufw") {
		t.Errorf("not said that another firewall drops: %s", r.log.String())
	}
}

// A server that is killed and started again must not be noticed: neither by
// connections nor by single packets.
func TestOpeningAgainInterruptsNothing(t *testing.T) {
	r := newRig(t)
	web := r.attach("web", "172.17.0.2", 8080)
	all := []outside.Endpoint{web}
	in, out := r.echo(r.node(), web.ContainerNetns, "172.17.0.2:8080"), r.echo(web.ContainerNetns, r.lab.Internet().Path(), "198.51.100.10:9000")
	resolver := r.packets("172.17.0.1:53")
	var questions net.Conn
	r.in(web.ContainerNetns, func() (err error) {
		questions, err = net.Dial("udp4", "172.17.0.1:53")
		return err
	})
	defer questions.Close()
	link := r.run(r.node(), "ip -o link show "+r.port(web))

	opened := make(chan struct{})
	go func() {
		defer close(opened)
		for range 10 {
			n, err := r.tryOpen(outside.Config{})
			if err == nil {
				err = n.Set(t.Context(), all)
				n.Close()
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	exchanges := 0
	// Not faster than a container may ask.
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for done := false; !done; exchanges++ {
		<-pace.C
		select {
		case <-opened:
			done = true
		default:
		}
		text := fmt.Sprintf("%08d", exchanges)
		for _, c := range []net.Conn{in, out} {
			if err := exchange(c, text); err != nil {
				t.Fatalf("exchange %d: %v", exchanges, err)
			}
		}
		if _, err := questions.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, got := heard(resolver, 5*time.Second); got != text {
			t.Fatalf("question %s was lost, heard %q", text, got)
		}
	}
	if exchanges < 20 {
		t.Errorf("only %d exchanges while it was opened 10 times", exchanges)
	}
	if now := r.run(r.node(), "ip -o link show "+r.port(web)); now != link {
		t.Errorf("the interface changed from\n%s\nto\n%s", link, now)
	}
}

// echo makes a connection whose other end repeats what it gets.
func (r *rig) echo(from, at, addr string) net.Conn {
	r.t.Helper()
	return r.echoBy(from, addr, at, addr)
}

// echoBy is echo where the other end listens at another address than the one
// that is dialled.
func (r *rig) echoBy(from, addr, at, listen string) net.Conn {
	r.t.Helper()
	var l net.Listener
	var c net.Conn
	r.in(at, func() (err error) {
		l, err = net.Listen("tcp4", listen)
		return err
	})
	r.t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(c, c)
	}()
	r.in(from, func() (err error) {
		c, err = net.DialTimeout("tcp4", addr, 5*time.Second)
		return err
	})
	r.t.Cleanup(func() { c.Close() })
	return c
}

func exchange(c net.Conn, text string) error { return exchangeWithin(c, text, 5*time.Second) }

func exchangeWithin(c net.Conn, text string, limit time.Duration) error {
	c.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	if string(b) != text {
		return fmt.Errorf("got %q back, sent %q", b, text)
	}
	return nil
}

func TestSetRepairsWhatIsDamagedAndRemovesStrays(t *testing.T) {
	r := newRig(t)
	web, gone := r.attach("web", "172.17.0.2", 8080), r.attach("gone", "172.17.0.3", 8080)
	late := r.endpoint("late", "172.17.0.4", 8080)
	for _, e := range []outside.Endpoint{web, late} {
		r.listen(e.ContainerNetns, "0.0.0.0:8080", e.ID)
	}
	port := r.port(web)
	index := r.run(r.node(), "cat /proc/net/igmp | grep -c . >/dev/null; ip -o link show "+port+" | cut -d: -f1")
	// The firewall was emptied, the port is no longer ours, the default
	// route is gone.
	r.run(r.node(), "nft flush ruleset; bridge link set dev "+port+" isolated off; ip link set "+port+" nomaster")
	r.run(web.ContainerNetns, "ip route del default")
	damaged := outside.Endpoint{ID: "damaged", Addr: netip.MustParseAddr("172.17.0.9"), ContainerNetns: r.lab.Dir() + "/nowhere"}

	err := r.net.Set(t.Context(), []outside.Endpoint{web, damaged, late})
	if err == nil || !strings.Contains(err.Error(), "damaged") || strings.Contains(err.Error(), "web") {
		t.Errorf("error is %v; want one about the damaged container only", err)
	}
	for _, e := range []outside.Endpoint{web, late} {
		r.wantAnswer(r.node(), e.Addr.String()+":8080", e.ID)
		r.wantSilence(r.lab.Internet().Path(), e.Addr.String()+":8080")
		if links := r.run(r.node(), "bridge -d link | grep -A1 "+r.port(e)); !strings.Contains(links, "isolated on") {
			t.Errorf("the port of %s is\n%s", e.ID, links)
		}
		if routes := r.run(e.ContainerNetns, "ip route"); !strings.Contains(routes, "default via 172.17.0.1") {
			t.Errorf("routes of %s are\n%s", e.ID, routes)
		}
	}
	if now := r.run(r.node(), "ip -o link show "+port+" | cut -d: -f1"); now != index {
		t.Errorf("the interface of a running container was replaced: %s, now %s", index, now)
	}
	if links := r.run(r.node(), "ip -o link"); strings.Count(links, "ato-") != 2 || strings.Contains(links, "alias gone") {
		t.Errorf("a stray is left:\n%s", links)
	}
	if sets := r.run(r.node(), "nft list table ip atoll_outside"); strings.Contains(sets, gone.Addr.String()+" ") {
		t.Errorf("the address of a stray is still let through:\n%s", sets)
	}
	for _, bad := range [][]outside.Endpoint{{web, web}, {web, {ID: "thief", Addr: web.Addr, ContainerNetns: late.ContainerNetns}}} {
		if r.net.Set(t.Context(), bad) == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	if got := len(r.net.List()); got != 2 {
		t.Errorf("%d endpoints, want the two that were there before", got)
	}
}

func TestAPublicPortChangesWithoutInterruption(t *testing.T) {
	r := newRig(t)
	web := r.attach("web", "172.17.0.2", 8080)
	r.listen(web.ContainerNetns, "0.0.0.0:8080", "first")
	r.listen(web.ContainerNetns, "0.0.0.0:9090", "second")
	out := r.echo(web.ContainerNetns, r.lab.Internet().Path(), "198.51.100.10:9000")
	link := r.run(r.node(), "ip -o link show "+r.port(web))
	web.PublicPort = 9090
	if err := r.net.Attach(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	r.wantAnswer(r.node(), "172.17.0.2:9090", "second")
	r.wantSilence(r.node(), "172.17.0.2:8080")
	if err := exchange(out, "still there"); err != nil {
		t.Error(err)
	}
	if now := r.run(r.node(), "ip -o link show "+r.port(web)); now != link {
		t.Errorf("the interface changed from\n%s\nto\n%s", link, now)
	}
	thief := r.endpoint("thief", "172.17.0.2", 0)
	if err := r.net.Attach(t.Context(), thief); err == nil || !strings.Contains(err.Error(), "web") {
		t.Errorf("error is %v; want one that names the holder of the address", err)
	}
}

// Methods work on the node whatever namespace the calling thread is in.
func TestCallsWorkFromAnyThread(t *testing.T) {
	r := newRig(t)
	a := r.endpoint("a", "172.17.0.2", 0)
	done := make(chan error)
	go func() { done <- r.net.Attach(t.Context(), a) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if sets := r.run(r.node(), "nft list set bridge atoll_outside ports"); !strings.Contains(sets, "172.17.0.2") {
		t.Errorf("the pin is not on the node:\n%s", sets)
	}
}

func TestDestroyLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.attach("a", "172.17.0.2", 8080)
	for range 2 {
		if err := lab.Do(r.lab.Server(), func() error { return outside.Destroy(outside.Config{Prefix: prefix}) }); err != nil {
			t.Fatal(err)
		}
	}
	if left := r.run(r.node(), "ip -o link | grep -e ato -e docker || true; nft list ruleset"); strings.TrimSpace(left) != "" {
		t.Errorf("left:\n%s", left)
	}
	if out, err := os.ReadFile("/proc/net/dev"); err != nil || strings.Contains(string(out), "atoll0") {
		t.Errorf("the machine's own namespace has atoll0 (%v)", err)
	}
}
