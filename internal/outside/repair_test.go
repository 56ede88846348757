package outside_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/outside"
)

// repairRig is a node whose traffic and isolation can be looked at.
type repairRig struct {
	*rig
	web, other outside.Endpoint
	all        []outside.Endpoint
	in, out    net.Conn
}

func newRepairRig(t *testing.T) *repairRig {
	r := &repairRig{rig: newRig(t)}
	r.web, r.other = r.attach("web", "172.17.0.2", 8080), r.attach("other", "172.17.0.3", 0)
	r.all = []outside.Endpoint{r.web, r.other}
	r.listen(r.web.ContainerNetns, "0.0.0.0:8080", "web")
	r.listen(r.other.ContainerNetns, "0.0.0.0:9000", "other")
	r.listen(r.node(), "0.0.0.0:9999", "node")
	// Connections that are there before anything breaks, and after. What lets
	// the first of them begin goes with the next Set.
	r.run(r.node(), "nft add element ip atoll_outside public '{ 172.17.0.2 . 8081 }'")
	r.in = r.echo(r.node(), r.web.ContainerNetns, "172.17.0.2:8081")
	r.out = r.echo(r.web.ContainerNetns, r.lab.Internet().Path(), "198.51.100.10:9000")
	return r
}

// passes looks at isolation or traffic from a namespace.
func (r *repairRig) passes(path, addr string) func() bool {
	return func() bool { return r.ask(path, addr) != "" }
}

func (r *repairRig) wantInOrder() {
	r.t.Helper()
	r.wantAnswer(r.node(), "172.17.0.2:8080", "web")
	for i, c := range []net.Conn{r.in, r.out} {
		if err := exchange(c, "still there"); err != nil {
			r.t.Errorf("connection %d did not outlive it: %v", i, err)
		}
	}
	r.wantSilence(r.other.ContainerNetns, "172.17.0.2:8080")
	r.wantSilence(r.other.ContainerNetns, "172.17.0.1:9999")
	r.wantSilence(r.node(), "172.17.0.3:9000")
}

func TestWhatIsBrokenFromOutsideIsFoundAndRepaired(t *testing.T) {
	r := newRepairRig(t)
	const onNode, inWeb, inOther = 0, 1, 2
	port, otherPort := r.port(r.web), r.port(r.other)
	in, out := r.passes(r.node(), "172.17.0.2:8080"), r.passes(r.web.ContainerNetns, "198.51.100.10:80")
	neighbour := func() bool {
		// An unanswered question of before is asked again after a second only.
		for _, at := range r.all {
			r.run(at.ContainerNetns, "ip route replace 172.17.0.0/16 dev eth0; ip neigh flush all")
			defer r.run(at.ContainerNetns, "ip route del 172.17.0.0/16 dev eth0")
		}
		return r.ask(r.other.ContainerNetns, "172.17.0.2:8080") != ""
	}
	around := func() bool {
		far := netip.MustParseAddr("198.51.100.77")
		r.send(r.web, frame(group(0x0e), r.mac(r.web), typeARP, arp(r.mac(r.web), far, netip.MustParseAddr("203.0.113.2"))))
		time.Sleep(patience)
		return strings.Contains(r.run(r.node(), "ip neigh show "+far.String()+"; ip neigh flush "+far.String()), "lladdr")
	}
	service, private := r.passes(r.other.ContainerNetns, "172.17.0.1:9999"), r.passes(r.node(), "172.17.0.3:9000")
	cases := []struct {
		name   string
		where  int
		script string
		// finding is part of what Compare must say.
		finding string
		// broken looks, and open says which outcome proves the damage.
		broken func() bool
		open   bool
	}{
		{"an emptied ruleset", onNode, "nft flush ruleset", "the table is gone", service, true},
		{"an emptied chain", onNode, "nft flush chain ip atoll_outside input", "rules, chains or sets are missing", service, true},
		{"an emptied chain of ARP", onNode, "nft flush chain arp atoll_outside input", "1 of our rules, chains or sets are missing", around, true},
		{"no table of ARP", onNode, "nft delete table arp atoll_outside", "the table is gone", around, true},
		{"a rule before ours", onNode, "nft insert rule ip atoll_outside input accept", "1 are there that are not ours", service, true},
		{"rules in another order", onNode, "nft 'flush chain ip atoll_outside output; add rule ip atoll_outside output accept'", "rules, chains or sets are missing", private, true},
		{"a deleted chain", onNode, "nft delete chain ip atoll_outside output", "rules, chains or sets are missing", private, true},
		{"a pin that is gone", onNode, "nft flush set bridge atoll_outside ports", "the element { " + port, in, false},
		{"a public port that is not", onNode, "nft add element ip atoll_outside public '{ 172.17.0.3 . 9000 }'", "the element { 172.17.0.3 . 9000 } is no container's", private, true},
		{"a public port that is gone", onNode, "nft flush set ip atoll_outside public", "the element { 172.17.0.2 . 8080 } is missing", in, false},
		{"a port that is not isolated", onNode, "nft flush chain bridge atoll_outside ip_of_container; nft flush chain bridge atoll_outside arp_of_container; bridge link set dev " + port + " isolated off", `"isolated" is 0`, neighbour, true},
		{"a port that learns", onNode, "bridge link set dev " + otherPort + " learning on flood on mcast_flood on", `"learning" is 1`, nil, false},
		{"a port taken off the bridge", onNode, "ip link set " + port + " nomaster", "no port of the bridge", in, false},
		{"a port that is down", onNode, "ip link set " + port + " down", "it is down", in, false},
		{"a port without its MAC", onNode, "bridge fdb del 02:a8:ac:11:00:02 dev " + port + " master", "does not know its MAC", in, false},
		{"a port with another alias and IPv6", onNode, "ip link set " + port + " alias x; echo 0 > /proc/sys/net/ipv6/conf/" + port + "/disable_ipv6", "IPv6 is on", nil, false},
		{"a bridge that is down", onNode, "ip link set atoll0 down", "the bridge is down", in, false},
		{"a bridge without its address", onNode, "ip addr flush dev atoll0", "no address 172.17.0.1/16", in, false},
		{"a bridge with another MAC", onNode, "ip link set atoll0 address 02:00:00:00:00:09", "the bridge's MAC", nil, false},
		{"a deleted bridge", onNode, "ip link del atoll0", "the bridge is gone", in, false},
		{"another bridge of the name", onNode, "ip link del atoll0; ip link add atoll0 type bridge", "made anew", in, false},
		{"a deleted host end", onNode, "ip link del " + port, "the host end of its interface is gone", in, false},
		{"a deleted eth0", inWeb, "ip link del eth0", "the host end of its interface is gone", out, false},
		{"an eth0 that is down", inWeb, "ip link set eth0 down", "it is down", out, false},
		{"another address of eth0", inWeb, "ip addr flush dev eth0; ip addr add 172.17.0.3/16 dev eth0; ip route add default via 172.17.0.1", "has the address 172.17.0.3/16", out, false},
		{"one more address of eth0", inOther, "ip addr add 10.240.0.9/32 dev eth0", "has the address 10.240.0.9/32", nil, false},
		{"another MAC of eth0", inWeb, "ip link set eth0 address 02:00:00:00:00:07", "its MAC", out, false},
		{"no default route", inWeb, "ip route del default", "the default route", out, false},
		{"no route to the gateway", inWeb, "ip route del 172.17.0.1", "the route to 172.17.0.1", nil, false},
		{"IPv6 in the container", inWeb, "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6", "IPv6 is on", nil, false},
		{"another MTU", inWeb, "ip link set eth0 mtu 1280", "its MTU is 1280", nil, false},
		{"no forwarding", onNode, "echo 0 > /proc/sys/net/ipv4/ip_forward", "it is 0 instead of 1", out, false},
		{"no forwarding of the bridge", onNode, "echo 0 > /proc/sys/net/ipv4/conf/atoll0/forwarding", "it is 0 instead of 1", out, false},
		{"no check of sources", onNode, "echo 0 > /proc/sys/net/ipv4/conf/atoll0/rp_filter", "it is 0 instead of 1", nil, false},
		{"a stray interface", onNode, "ip link add ato-stray type veth peer name x0", "no container has this interface", nil, false},
	}
	if err := r.net.Set(t.Context(), r.all); err != nil {
		t.Fatal(err)
	}
	if r.bridgeSettings()[0] != "none" {
		r.set("0") // else the rule against neighbours helps where a port does not
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r.rig.t = t
			path := []string{r.node(), r.web.ContainerNetns, r.other.ContainerNetns}[c.where]
			r.run(path, c.script)
			if c.broken != nil && c.broken() != c.open {
				t.Errorf("the test proves nothing: the damage does no harm")
			}
			if found := fmt.Sprint(r.compare()); !strings.Contains(found, c.finding) {
				t.Errorf("found %s, want something with %q", found, c.finding)
			}
			if err := r.net.Set(t.Context(), r.all); err != nil {
				t.Fatal(err)
			}
			if found := r.compare(); len(found) != 0 {
				t.Errorf("not repaired: %+v", found)
			}
			r.wantInOrder()
		})
	}
}

// What came about while rules were damaged ends with the repair, whatever
// connection tracking calls it by then.
func TestConnectionsMadeWhileRulesWereDamagedDoNotOutliveTheRepair(t *testing.T) {
	r := newRig(t)
	a := r.attach("a", "172.17.0.2", 0)
	// A service of the node's surroundings, and a way in that somebody made.
	r.run(r.lab.Internet().Path(), "ip addr add 10.1.2.3/32 dev lo")
	r.run(r.node(), "nft 'table ip other { chain in { type nat hook prerouting priority dstnat; tcp dport 5434 dnat to 172.17.0.2:5435; }; }'")
	node, internet := r.node(), r.lab.Internet().Path()
	for _, tt := range []struct{ name, chain, from, addr, at, listen string }{
		{"to the node", "ip input", a.ContainerNetns, "172.17.0.1:5432", node, "172.17.0.1:5432"},
		{"to the surroundings", "ip forward", a.ContainerNetns, "10.1.2.3:5433", internet, "10.1.2.3:5433"},
		{"from outside", "ip forward", internet, "203.0.113.2:5434", a.ContainerNetns, "172.17.0.2:5435"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.t = t
			r.flush(tt.chain)
			c := r.echoBy(tt.from, tt.addr, tt.at, tt.listen)
			if err := exchange(c, "open"); err != nil {
				t.Fatalf("the test proves nothing: %v", err)
			}
			if err := r.net.Set(t.Context(), []outside.Endpoint{a}); err != nil {
				t.Fatal(err)
			}
			if err := exchangeWithin(c, "still open", time.Second); err == nil {
				t.Error("the connection goes on")
			}
		})
	}
}

func (r *repairRig) compare() []outside.Finding {
	r.t.Helper()
	found, err := r.net.Compare(r.t.Context(), r.all)
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// A look at a network in order finds nothing and touches nothing.
func TestALookChangesNothing(t *testing.T) {
	r := newRepairRig(t)
	if err := r.net.Set(t.Context(), r.all); err != nil {
		t.Fatal(err)
	}
	all := func() string {
		return r.run(r.node(), "nft -s -t -a list ruleset; nft list set bridge atoll_outside ports; nft list set ip atoll_outside public; bridge -d link; ip route; ip addr") + r.run(r.web.ContainerNetns, "ip -d addr; ip route")
	}
	before := all()
	// What the kernel counts by itself is no change: connections, questions.
	r.wantAnswerOf(r.web.ContainerNetns, "198.51.100.10:80")
	r.run(r.web.ContainerNetns, "dig +tries=1 +time=1 @172.17.0.1 example.test || true")
	for range 3 {
		if found := r.compare(); len(found) != 0 {
			t.Errorf("a network in order, but found %+v", found)
		}
	}
	if now := all(); now != before {
		t.Errorf("it changed from\n%s\nto\n%s", before, now)
	}
	r.wantInOrder()
}

// Nothing is installed for ever: what a container needs is written although
// somebody emptied the firewall just before.
func TestContainersComeAndGoWhileTheFirewallIsEmptied(t *testing.T) {
	r := newRig(t)
	web := r.attach("web", "172.17.0.2", 8080)
	r.listen(web.ContainerNetns, "0.0.0.0:8080", "web")
	r.run(r.node(), "nft flush ruleset")
	other := r.attach("other", "172.17.0.3", 8080)
	r.listen(other.ContainerNetns, "0.0.0.0:8080", "other")
	r.wantAnswer(r.node(), "172.17.0.3:8080", "other")
	r.wantAnswer(r.node(), "172.17.0.2:8080", "web")
	r.run(r.node(), "nft flush ruleset")
	if err := r.net.Detach(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	found, err := r.net.Compare(t.Context(), []outside.Endpoint{web})
	if err != nil || len(found) != 0 {
		t.Errorf("found %+v (%v), want nothing", found, err)
	}
}

// The next holder of an address must not inherit connections of the last one:
// packets of an established connection pass where new ones would not.
func TestAReusedAddressInheritsNoConnection(t *testing.T) {
	for _, way := range []string{"detached", "left out of a set"} {
		t.Run(way, func(t *testing.T) {
			r := newRig(t)
			old, stays := r.attach("old", "172.17.0.2", 8080), r.attach("stays", "172.17.0.3", 8080)
			r.echo(r.node(), old.ContainerNetns, "172.17.0.2:8080")
			r.echo(old.ContainerNetns, r.lab.Internet().Path(), "198.51.100.10:9000")
			other := r.echo(stays.ContainerNetns, r.lab.Internet().Path(), "198.51.100.10:9001")
			if got := len(r.tracked("172.17.0.2")); got != 1 {
				t.Fatalf("%d connections of the container are tracked, want 1", got)
			}
			if got := len(r.tracked("172.17.0.1")); got != 1 {
				t.Fatalf("%d connections to the container are tracked, want 1", got)
			}
			var err error
			if way == "detached" {
				err = r.net.Detach(t.Context(), "old")
			} else {
				// As a new process does it, which knows of no endpoint yet.
				r.net = r.open(outside.Config{})
				err = r.net.Set(t.Context(), []outside.Endpoint{stays})
			}
			if err != nil {
				t.Fatal(err)
			}
			if left := append(r.tracked("172.17.0.2"), r.tracked("172.17.0.1")...); len(left) != 0 {
				t.Errorf("left are %v", left)
			}
			if err := exchange(other, "still there"); err != nil || len(r.tracked("172.17.0.3")) != 1 {
				t.Errorf("the connection of another container is disturbed: %v", err)
			}
		})
	}
}

func TestFirewallsThatDropAreNamed(t *testing.T) {
	r := newRig(t)
	none, err := r.net.Obstacles(t.Context())
	if err != nil || len(none) != 0 {
		t.Fatalf("obstacles %+v (%v), there are none", none, err)
	}
	r.run(r.node(), `nft -f - <<'X'
table inet firewalld {
	chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; ct state established,related accept; reject with icmpx admin-prohibited; }
	chain filter_INPUT { type filter hook input priority filter + 10; policy accept; tcp dport 22 drop; }
	chain not_hooked { drop; }
}
table ip other { chain forward { type filter hook forward priority 0; policy drop; }; }
table bridge far { chain forward { type filter hook forward priority 0; policy drop; }; }
X`)
	got, err := r.net.Obstacles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []outside.Obstacle{
		{Table: "inet firewalld", Chain: "filter_FORWARD", Hook: "forward", Why: "a rule that drops everything"},
		{Table: "ip other", Chain: "forward", Hook: "forward", Why: "policy drop"},
	}
	slices.SortFunc(got, func(a, b outside.Obstacle) int { return strings.Compare(a.Table, b.Table) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("obstacles (-want +got):\n%s", diff)
	}
	// Twin: they do stop containers.
	web := r.attach("web", "172.17.0.2", 0)
	r.wantSilence(web.ContainerNetns, "198.51.100.10:80")
	r.run(r.node(), "nft delete table inet firewalld; nft delete table ip other")
	r.wantAnswerOf(web.ContainerNetns, "198.51.100.10:80")
}

// wantAnswerOf is wantAnswer for whatever answer.
func (r *rig) wantAnswerOf(path, addr string) {
	r.t.Helper()
	lab.WaitFor(r.t, 10*time.Second, "a connection to "+addr, func() (bool, error) {
		connected := false
		r.in(path, func() error {
			c, err := net.DialTimeout("tcp4", addr, patience)
			if err == nil {
				connected = true
				c.Close()
			}
			return nil
		})
		return connected, nil
	})
}

// Containers of another server on the same machine may have the same
// addresses, MACs and numbers of interfaces.
func TestANamespaceOfAnotherServerIsNotTakenForOurs(t *testing.T) {
	ours, theirs := newRig(t), newRig(t)
	a, b := ours.attach("a", "172.17.0.2", 0), theirs.attach("a", "172.17.0.2", 0)
	const look = "ip -o link show eth0 | cut -d: -f1,2; cat /sys/class/net/eth0/iflink /sys/class/net/eth0/address 2>/dev/null || ip -o link show eth0 | grep -o 'link/ether [^ ]*'"
	if x, y := ours.run(a.ContainerNetns, look), theirs.run(b.ContainerNetns, look); x != y {
		t.Fatalf("the test proves nothing, the interfaces differ:\n%s\n%s", x, y)
	}
	if !ours.net.Identify(a.ContainerNetns, a) {
		t.Error("our container's namespace is not known")
	}
	if ours.net.Identify(b.ContainerNetns, a) {
		t.Error("a namespace of another server is taken for ours")
	}
}

// A Detach that is cut off must be tried again until all of it is done: the
// next holder of the address would have the public port of the last one.
func TestADetachThatIsCutOffIsNotForgotten(t *testing.T) {
	r := newRig(t)
	r.attach("old", "172.17.0.2", 8080)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.net.Detach(over, "old"); err == nil {
		t.Fatal("the test proves nothing: nothing was cut off")
	}
	if got := len(r.net.List()); got != 1 {
		t.Errorf("%d endpoints are known, want the one that is not gone yet", got)
	}
	if err := r.net.Detach(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	if left := r.run(r.node(), "nft list set ip atoll_outside public; nft list set bridge atoll_outside ports; ip -o link"); strings.Contains(left, "172.17.0.2") || strings.Contains(left, "alias old") || len(r.net.List()) != 0 {
		t.Errorf("left:\n%s", left)
	}
	next := r.attach("next", "172.17.0.2", 0)
	r.listen(next.ContainerNetns, "0.0.0.0:8080", "private")
	r.wantSilence(r.node(), "172.17.0.2:8080")
}
