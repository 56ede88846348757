package privnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// Policies change under conversations that exist: the next packet counts.
func TestPolicyTakesEffectAtOnce(t *testing.T) {
	for _, network := range []string{"tcp4", "udp4"} {
		t.Run(network, func(t *testing.T) {
			s := open(t, newConfig(t))
			client, server := grouped(t, s, 1, "10.240.0.1", 11), grouped(t, s, 1, "10.240.0.2", 22)
			server.echo(7000)
			c, err := client.dial(network, 0, server.addr, 7000, patience)
			if err != nil {
				t.Fatal(err)
			}
			if err := exchange(c, "open", patience); err != nil {
				t.Fatal(err)
			}
			allowed := Policy{Network: 1, Mode: ModeEnforce, Rules: []Rule{{From: 11, To: 22, Port: 7000}}}
			nothing := Policy{Network: 1, Mode: ModeEnforce, Rules: []Rule{{From: 22, To: 11}, {From: 11, To: 22, Port: 7001}}}
			for round := range 3 {
				setPolicies(t, s, allowed)
				c.SetDeadline(time.Time{})
				if err := exchange(c, "allowed", patience); err != nil {
					t.Fatalf("round %d, with a rule: %v", round, err)
				}
				before, heard := drops(t, s)[PolicyDenied], server.heard()
				setPolicies(t, s, nothing)
				if err := exchange(c, "denied", quiet); !isTimeout(err) {
					t.Errorf("round %d, without its rule: %v", round, err)
				}
				if drops(t, s)[PolicyDenied] == before {
					t.Errorf("round %d: no drop was counted", round)
				}
				if got := server.heard(); got != heard {
					t.Errorf("round %d: the server heard %d frames", round, got-heard)
				}
				// What TCP sends again arrives when the rule is back.
				setPolicies(t, s, allowed)
				if network == "tcp4" {
					word := make([]byte, len("denied"))
					c.SetDeadline(time.Now().Add(patience))
					if _, err := c.Read(word); err != nil || string(word) != "denied" {
						t.Fatalf("round %d, with the rule back: %q, %v", round, word, err)
					}
				}
			}
			setPolicies(t, s) // open
			if err := exchange(c, "open", patience); err != nil {
				t.Errorf("without a policy: %v", err)
			}
		})
	}
}

// A connection does not outlive the policy it was opened under because its
// client saw to it that nobody remembers who opened it.
func TestForgottenConnectionIsNotKept(t *testing.T) {
	s := open(t, newConfig(t))
	server, client := grouped(t, s, 1, "10.240.0.1", 11), grouped(t, s, 1, "10.240.0.2", 22)
	server.echo(9000)
	// As much as a container sends in a second, to ever other ports.
	client.do(func() error {
		u, err := net.ListenPacket("udp4", "0.0.0.0:0")
		if err != nil {
			return err
		}
		defer u.Close()
		for i := range 12000 {
			if _, err := u.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(server.addr, uint16(10000+i)))); err != nil {
				return err
			}
		}
		return nil
	})
	// From the port of a service that the server may use.
	c, err := client.dial("tcp4", 3000, server.addr, 9000, patience)
	if err != nil {
		t.Fatal(err)
	}
	setPolicies(t, s, Policy{Network: 1, Mode: ModeEnforce, Rules: []Rule{{From: 11, To: 22, Protocol: TCP, Port: 3000}}})
	if err := exchange(c, "denied", quiet); !isTimeout(err) {
		t.Errorf("under a policy that denies it: %v", err)
	}
}

// A server cannot open connections to its clients, whatever its source port.
func TestServerCannotReachItsClients(t *testing.T) {
	s := open(t, newConfig(t))
	client, server := grouped(t, s, 1, "10.240.0.1", 11), grouped(t, s, 1, "10.240.0.2", 22)
	client.echo(40000)
	server.echo(7000)
	setPolicies(t, s, Policy{Network: 1, Mode: ModeEnforce, Rules: []Rule{{From: 11, To: 22, Port: 7001}, {From: 11, To: 22, Port: 7000}}})
	for _, network := range []string{"tcp4", "udp4"} {
		c, err := client.dial(network, 0, server.addr, 7000, patience)
		if err == nil {
			err = exchange(c, "asked", patience)
		}
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		heard := client.heard()
		back, err := server.dial(network, 7001, client.addr, 40000, quiet)
		if err == nil {
			err = exchange(back, "unasked", quiet)
		}
		if !isTimeout(err) {
			t.Errorf("%s from the service's port: %v", network, err)
		}
		if got := client.heard(); got != heard {
			t.Errorf("%s: the client heard %d frames", network, got-heard)
		}
		if f := flow(t, s, map[string]uint8{"tcp4": TCP, "udp4": UDP}[network], 40000, Denied); f.Packets == 0 || f.From != server.addr {
			t.Errorf("%s: the attempt is not among the flows: %+v", network, flows(t, s))
		}
	}
}

// Errors about what is allowed come back, and so does what needs fragments.
func TestErrorsAndFragmentsUnderPolicy(t *testing.T) {
	s := open(t, newConfig(t))
	client, server := grouped(t, s, 1, "10.240.0.1", 11), grouped(t, s, 1, "10.240.0.2", 22)
	server.echo(7000)
	setPolicies(t, s, Policy{Network: 1, Mode: ModeEnforce, Rules: []Rule{{From: 11, To: 22, Protocol: UDP}, {From: 11, To: 22, Protocol: ICMP}}})
	closed, err := client.dial("udp4", 0, server.addr, 7009, patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := exchange(closed, "anybody?", patience); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a closed port: %v, want that it is refused", err)
	}
	c, err := client.dial("udp4", 0, server.addr, 7000, patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := exchange(c, strings.Repeat("fragments", 1000), patience); err != nil {
		t.Errorf("a datagram of 9000 bytes: %v", err)
	}
	if f := flow(t, s, UDP, 7000, Allowed); f.Packets != 7 || f.ReplyPackets != 7 {
		t.Errorf("the flow %+v, want 7 fragments each way", f)
	}
	if err := client.ping(server.addr, 6000, patience); err != nil {
		t.Errorf("ping in fragments: %v", err)
	}
	if err := server.ping(client.addr, 56, quiet); !isTimeout(err) {
		t.Errorf("ping the other way: %v", err)
	}
}

// A dry run lets everything pass and says what it would not.
func TestDryRun(t *testing.T) {
	s := open(t, newConfig(t))
	client, server := grouped(t, s, 1, "10.240.0.1", 11), grouped(t, s, 1, "10.240.0.2", 22)
	server.echo(7000)
	server.echo(7001)
	setPolicies(t, s, Policy{Network: 1, Mode: ModeDryRun, Rules: []Rule{{From: 11, To: 22, Port: 7000}}})
	for _, network := range []string{"tcp4", "udp4"} {
		for _, port := range []int{7000, 7001} {
			c, err := client.dial(network, 0, server.addr, port, patience)
			if err == nil {
				err = exchange(c, "passes", patience)
			}
			if err != nil {
				t.Errorf("%s %d: %v", network, port, err)
			}
		}
	}
	for _, protocol := range []uint8{TCP, UDP} {
		for port, v := range map[uint16]Verdict{7000: Allowed, 7001: WouldDeny} {
			if f := flow(t, s, protocol, port, v); f.Packets == 0 || f.ReplyPackets == 0 || f.From != client.addr || f.FromGroup != 11 || f.ToGroup != 22 {
				t.Errorf("no flow to %d of protocol %d is %v: %+v", port, protocol, v, f)
			}
		}
	}
	if got := len(flows(t, s)); got != 4 {
		t.Errorf("%d flows, want 4: %+v", got, flows(t, s))
	}
	if got := sum(drops(t, s)); got != 0 {
		t.Errorf("%d drops", got)
	}
}

// The rules of a network are replaced under load, and what both versions allow
// is never denied.
func TestRulesAreReplacedInOneStep(t *testing.T) {
	s := open(t, newConfig(t))
	client, server := grouped(t, s, 1, "10.240.0.1", 11), grouped(t, s, 1, "10.240.0.2", 22)
	server.echo(7000)
	versions := make([]Policy, 2)
	for v := range versions {
		versions[v] = Policy{Network: 1, Mode: ModeEnforce, Rules: []Rule{{From: 11, To: 22, Protocol: UDP, Port: 7000}}}
		for i := range uint32(100) {
			versions[v].Rules = append(versions[v].Rules, Rule{From: 1000*uint32(v+1) + i, To: 22, Port: uint16(1 + i)})
		}
	}
	setPolicies(t, s, versions[0])
	c, err := client.dial("udp4", 0, server.addr, 7000, patience)
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	var sent atomic.Uint64
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := c.Write([]byte("x")); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
				done <- err
				return
			}
			sent.Add(1)
		}
	}()
	for round := range 60 {
		setPolicies(t, s, versions[round%2])
		at := sent.Load()
		until(t, "packets under this version", func() bool { return sent.Load() > at+20 })
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := drops(t, s)[PolicyDenied]; got != 0 {
		t.Errorf("%d of %d packets were denied", got, sent.Load())
	}
	t.Logf("%d packets", sent.Load())

	// What was replaced is gone when nothing can ask for it any more.
	clear(s.retired)
	setPolicies(t, s, versions[1])
	rules, err := readTable[bpf.SwitchRuleKey, uint32](s.maps.rules)
	if err != nil || len(rules) != 101 {
		t.Errorf("%d rules are left, want 101; %v", len(rules), err)
	}
}

func TestSetPoliciesHoldsExactlyThese(t *testing.T) {
	s := open(t, newConfig(t))
	policies := func() []Policy {
		t.Helper()
		all, err := s.Policies(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			slices.SortFunc(p.Rules, func(a, b Rule) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		return all
	}
	first := Policy{Network: 1, Mode: ModeEnforce, Rules: []Rule{{}, {1, 2, TCP, 80}}}
	second := Policy{Network: 2, Mode: ModeDryRun, Rules: []Rule{{1, 2, TCP, 80}}}
	empty := Policy{Network: 3, Mode: ModeEnforce}
	none := Policy{Network: 4, Mode: ModeOpen, Rules: []Rule{{1, 2, TCP, 80}}}
	doubled := first
	doubled.Rules = append(slices.Clone(first.Rules), first.Rules...)

	setPolicies(t, s, doubled, second, empty, none)
	want := []Policy{first, second, empty}
	if diff := cmp.Diff(want, policies()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	before, err := readTable[uint32, bpf.SwitchPolicy](s.maps.policies)
	if err != nil {
		t.Fatal(err)
	}
	setPolicies(t, s, second, first, empty)
	if after, err := readTable[uint32, bpf.SwitchPolicy](s.maps.policies); err != nil || !cmp.Equal(before, after) {
		t.Errorf("setting the same changed %s, %v", cmp.Diff(before, after), err)
	}
	// A change of the mode alone needs no new rules.
	second.Mode = ModeEnforce
	setPolicies(t, s, second)
	if diff := cmp.Diff([]Policy{second}, policies()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	for _, c := range []struct {
		want     string
		policies []Policy
	}{
		{"network 1 is there twice", []Policy{first, first}},
		{"there is no mode 3", []Policy{{Network: 9, Mode: 3}}},
		{"which has no ports", []Policy{{Network: 9, Rules: []Rule{{1, 2, ICMP, 80}}}}},
	} {
		if err := s.SetPolicies(context.Background(), c.policies); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	// One policy that does not fit leaves its network as it was; others get
	// theirs.
	huge := Policy{Network: 2, Mode: ModeEnforce}
	for i := range uint32(MaxRules + 1) {
		huge.Rules = append(huge.Rules, Rule{From: 1 + i})
	}
	behind := Policy{Network: 3, Mode: ModeEnforce, Rules: []Rule{{1, 2, TCP, 81}}}
	if err := s.SetPolicies(context.Background(), []Policy{huge, behind}); err == nil || !strings.Contains(err.Error(), "are used up") {
		t.Errorf("too many rules: %v", err)
	}
	if diff := cmp.Diff([]Policy{second, behind}, policies()); diff != "" {
		t.Errorf("after the refusals (-want +got):\n%s", diff)
	}
	setPolicies(t, s, first)
	if diff := cmp.Diff([]Policy{first}, policies()); diff != "" {
		t.Errorf("with room again (-want +got):\n%s", diff)
	}
}

// Changes in quick succession leave their former rules behind for a moment; the
// next that finds no room waits for theirs.
func TestQuickChangesDoNotFillTheNode(t *testing.T) {
	s := open(t, newConfig(t))
	big := func(n uint32) Policy {
		p := Policy{Network: 1, Mode: ModeEnforce}
		for i := range n {
			p.Rules = append(p.Rules, Rule{From: 1 + i, To: 1})
		}
		return p
	}
	const each = MaxRules/3 + 1
	for i := range uint32(5) {
		setPolicies(t, s, big(each+i))
	}
	// Nor does a network that was replaced lately keep what others replaced.
	small := Policy{Network: 2, Mode: ModeEnforce}
	setPolicies(t, s, big(each), small)
	for v := range s.retired {
		s.retired[v] = time.Now().Add(-leftovers)
	}
	setPolicies(t, s, big(each), Policy{Network: 2, Mode: ModeDryRun, Rules: []Rule{{1, 2, TCP, 80}}})
	if rules, err := s.allRules(); err != nil || len(rules) != 2 {
		t.Errorf("rules of %d versions are left, want 2; %v", len(rules), err)
	}
}

// Killed, and taken over: policies hold all the time; flows and drops go on
// where they were.
func TestPoliciesOutliveTheProcess(t *testing.T) {
	cfg := newConfig(t)
	client, server := newBox(t), newBox(t)
	client.addr, client.group, server.addr, server.group = FirstAddr, 11, FirstAddr.Next(), 22
	policy := Policy{Network: 1, Mode: ModeEnforce, Rules: []Rule{{From: 11, To: 22, Protocol: UDP, Port: 7000}}}
	owner := startHelper(t, helperJob{Task: "hold", Config: cfg,
		Endpoints: []Endpoint{client.endpoint(1), server.endpoint(1)}, Policies: []Policy{policy}})
	server.echo(7000)
	server.echo(7001)
	var conns [2]net.Conn
	for i := range conns {
		var err error
		if conns[i], err = client.dial("udp4", 0, server.addr, 7000+i, patience); err != nil {
			t.Fatal(err)
		}
	}
	const each = 10
	check := func(when string) {
		t.Helper()
		for range each {
			if err := exchange(conns[0], "allowed", patience); err != nil {
				t.Fatalf("%s, allowed: %v", when, err)
			}
			conns[1].SetDeadline(time.Time{})
			if _, err := conns[1].Write([]byte("denied")); err != nil {
				t.Fatal(err)
			}
		}
		if err := exchange(conns[1], "denied", quiet); !isTimeout(err) {
			t.Errorf("%s, denied: %v", when, err)
		}
	}
	check("before the kill")
	kill(t, owner)
	check("with nobody there")
	s := open(t, cfg)
	check("after the takeover")
	if err := s.SetPolicies(context.Background(), []Policy{policy}); err != nil {
		t.Fatal(err)
	}
	check("set again")
	s.Close()
	s = open(t, cfg)

	if got, err := s.Policies(context.Background()); err != nil || !cmp.Equal(got, []Policy{policy}) {
		t.Errorf("the kernel holds %+v, %v", got, err)
	}
	if f := flow(t, s, UDP, 7000, Allowed); f.Packets != 4*each || f.ReplyPackets != 4*each {
		t.Errorf("allowed: %+v, want %d packets each way", f, 4*each)
	}
	if f := flow(t, s, UDP, 7001, Denied); f.Packets != 4*(each+1) || f.ReplyPackets != 0 {
		t.Errorf("denied: %+v, want %d packets", f, 4*(each+1))
	}
	entries, err := s.DropEntries(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := []DropEntry{{Network: 1, From: client.addr, FromGroup: 11, To: server.addr, Reason: PolicyDenied, Count: 4 * (each + 1)}}
	for i, e := range entries {
		if age := time.Since(e.LastSeen); age < 0 || age > time.Minute {
			t.Errorf("last seen %v ago", age)
		}
		entries[i].LastSeen = time.Time{}
	}
	if diff := cmp.Diff(want, entries, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("drop entries (-want +got):\n%s", diff)
	}
}

// What the version before policies left: its three tables, and ports that know
// no group.
func TestPinsOfTheFormerVersion(t *testing.T) {
	cfg := newConfig(t)
	s := open(t, cfg)
	a, b := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	s.Close()
	former := []string{bpf.SwitchMapPnPorts, bpf.SwitchMapPnMembers, bpf.SwitchMapPnDrops}
	pins, err := os.ReadDir(pinDir(cfg.BPFFS))
	if err != nil {
		t.Fatal(err)
	}
	for _, pin := range pins {
		if !slices.Contains(former, pin.Name()) {
			if err := os.Remove(filepath.Join(pinDir(cfg.BPFFS), pin.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	s = open(t, cfg)
	if err := a.ping(b.addr, 8, patience); err != nil {
		t.Error(err)
	}
	if d := compare(t, s); len(d.Pieces) != 0 {
		t.Errorf("not pinned: %v", d.Pieces)
	}
	// Nobody has a group until Set says so; then rules find them.
	setPolicies(t, s, Policy{Network: 1, Mode: ModeEnforce, Rules: []Rule{{From: 11, To: 22}}})
	if err := a.ping(b.addr, 8, quiet); !isTimeout(err) {
		t.Errorf("without groups: %v", err)
	}
	a.group, b.group = 11, 22
	if r := set(t, s, a.endpoint(1), b.endpoint(1)); len(r.Repaired) != 2 {
		t.Errorf("report %+v", r)
	}
	if err := a.ping(b.addr, 8, patience); err != nil {
		t.Errorf("with groups: %v", err)
	}
}
