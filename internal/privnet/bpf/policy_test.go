package bpf

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The modes and verdicts of policy.h, by number.
const (
	modeOpen = iota
	modeDryRun
	modeEnforce
)

const (
	allowed = iota
	denied
	wouldDeny
)

// The groups of the two members of a world.
const (
	ownGroup      = 11
	neighborGroup = 22
)

const (
	policyDenied = 15
	paceExceeded = 16
)

// What has a pace, as in tables.h.
const (
	paceConnections = iota
	paceOpened
	paceFragments
	paceFlows
	paceDropped
)

// The table of verdicts: what is sent, one frame after the other, and what
// becomes of the last. The rule is always that own's group may reach TCP and
// UDP port 80, and ICMP, of the neighbour's.
func TestVerdicts(t *testing.T) {
	there := func(f ...[]byte) []sent { return from(own, f...) }
	back := func(f ...[]byte) []sent { return from(neighbor, f...) }
	steps := func(s ...[]sent) []sent { return slices.Concat(s...) }
	echo := func(kind byte, id uint16) []byte { return icmp(kind, 0, id, nil) }

	for _, c := range []struct {
		name  string
		sends []sent
		want  int // in a network that enforces
	}{
		// Opening connections.
		{"SYN to the port", there(tcp(40000, 80, syn)), allowed},
		{"SYN to another port", there(tcp(40000, 81, syn)), denied},
		{"SYN to port 0", there(tcp(40000, 0, syn)), denied},
		{"SYN the other way", back(tcp(40000, 80, syn)), denied},
		{"SYN from the service's port", back(tcp(80, 40000, syn)), denied},
		{"SYN from the service's port, within a connection", steps(there(tcp(40000, 80, syn)), back(tcp(80, 40000, syn))), denied},
		{"SYN with FIN and RST", back(tcp(80, 40000, syn|fin|rst)), denied},

		// What belongs to a connection, with and without a memory of it.
		{"SYN+ACK", steps(there(tcp(40000, 80, syn)), back(tcp(80, 40000, syn|ack))), allowed},
		{"SYN+ACK to another port", back(tcp(81, 40000, syn|ack)), denied},
		{"SYN+ACK from a client", there(tcp(40000, 80, syn|ack)), denied},
		{"data", steps(there(tcp(40000, 80, syn)), there(tcp(40000, 80, ack))), allowed},
		{"data of a connection not seen to open", there(tcp(40000, 80, ack)), allowed},
		{"answer of a connection not seen to open", back(tcp(80, 40000, ack)), allowed},
		{"RST from the server", back(tcp(80, 40000, rst)), allowed},
		{"answer from a port that is no service", back(tcp(81, 40000, ack)), denied},
		{"data to a port that is no service", there(tcp(40000, 81, ack)), denied},

		// UDP has no flags: only who was asked may answer.
		{"datagram", there(udp(40000, 80)), allowed},
		{"datagram to another port", there(udp(40000, 81)), denied},
		{"answer", steps(there(udp(40000, 80)), back(udp(80, 40000))), allowed},
		{"unasked answer", back(udp(80, 40000)), denied},
		{"answer to another port than asked", steps(there(udp(40000, 80)), back(udp(80, 40001))), denied},
		{"answer from another port than asked", steps(there(udp(40000, 80)), back(udp(81, 40000))), denied},
		{"answer to what was denied", steps(there(udp(40000, 81)), back(udp(81, 40000))), denied},
		{"both ports the same, asked", steps(there(udp(80, 80)), back(udp(80, 80))), allowed},
		{"both ports the same, unasked", back(udp(80, 80)), denied},
		{"TCP does not open for UDP", steps(there(tcp(40000, 80, syn)), back(udp(80, 40000))), denied},

		// ICMP.
		{"echo request", there(echo(8, 7)), allowed},
		{"echo request the other way", back(echo(8, 7)), denied},
		{"echo reply", steps(there(echo(8, 7)), back(echo(0, 7))), allowed},
		{"echo reply with another id", steps(there(echo(8, 7)), back(echo(0, 8))), denied},
		{"unasked echo reply", back(echo(0, 7)), denied},
		{"redirect, with a rule for ICMP", there(icmp(5, 0, 0, nil)), allowed},
		{"redirect", back(icmp(5, 0, 0, nil)), denied},
		{"answer to a timestamp request", steps(there(icmp(13, 0, 7, nil)), back(icmp(14, 0, 7, nil))), denied},

		// Errors are of the conversation they quote.
		{"path MTU to a client", back(icmp(3, 4, 0, quote(there(tcp(40000, 80, ack))))), allowed},
		{"path MTU to a server", there(icmp(3, 4, 0, quote(back(tcp(80, 40000, ack))))), allowed},
		{"path MTU about no allowed connection", back(icmp(3, 4, 0, quote(there(tcp(40000, 81, ack))))), denied},
		{"port unreachable", steps(there(udp(40000, 80)), back(icmp(3, 3, 0, quote(there(udp(40000, 80)))))), allowed},
		{"port unreachable to the server", steps(there(udp(40000, 80)), back(udp(80, 40000)), there(icmp(3, 3, 0, quote(back(udp(80, 40000)))))), allowed},
		{"port unreachable to the server, nothing asked", there(icmp(3, 3, 0, quote(back(udp(80, 40000))))), denied},
		{"port unreachable, nothing sent", back(icmp(3, 3, 0, quote(there(udp(40000, 80))))), denied},
		{"time exceeded for an echo", steps(there(echo(8, 7)), back(icmp(11, 0, 0, quote(there(echo(8, 7)))))), allowed},
		{"time exceeded for no echo", back(icmp(11, 0, 0, quote(there(echo(8, 7))))), denied},
		{"error about another's packet", back(icmp(3, 4, 0, quote(back(tcp(40000, 80, ack))))), denied},
		{"error about a packet from a third", back(icmp(3, 4, 0, with(quote(there(tcp(40000, 80, ack))), 12, nobody.AsSlice()...))), denied},
		{"error about a packet to a third", back(icmp(3, 4, 0, with(quote(there(tcp(40000, 80, ack))), 16, nobody.AsSlice()...))), denied},
		{"error about a later fragment", back(icmp(3, 4, 0, with(quote(there(tcp(40000, 80, ack))), 6, 0, 1))), denied},
		{"error about a packet with options", back(icmp(3, 4, 0, with(quote(there(tcp(40000, 80, ack))), 0, 0x46))), denied},
		{"error about other ICMP than an echo", steps(there(echo(8, 7)), back(icmp(11, 0, 0, quote(there(icmp(5, 0, 7, nil)))))), denied},
		{"error about an error", back(icmp(3, 4, 0, quote(there(icmp(3, 4, 0, nil))))), denied},
		{"error that quotes too little", back(icmp(3, 4, 0, quote(there(tcp(40000, 80, ack)))[:27])), denied},
		{"error does not open", steps(there(icmp(3, 3, 0, quote(back(udp(40000, 80))))), back(udp(80, 40000))), denied},

		// Fragments follow their first one.
		{"first fragment", there(fragment(udp(40000, 80), 5, 0, true)), allowed},
		{"later fragment", there(fragment(udp(40000, 80), 5, 0, true), fragment(junk(17), 5, 8, false)), allowed},
		{"later fragment of another packet", there(fragment(udp(40000, 80), 5, 0, true), fragment(junk(17), 6, 8, false)), denied},
		{"later fragment of another protocol", there(fragment(udp(40000, 80), 5, 0, true), fragment(junk(6), 5, 8, false)), denied},
		{"later fragment of what was denied", there(fragment(udp(40000, 81), 5, 0, true), fragment(junk(17), 5, 8, false)), denied},
		{"later fragment alone", there(fragment(junk(17), 5, 8, false)), denied},
		{"later fragment of an answer", steps(there(udp(40000, 80)), back(fragment(udp(80, 40000), 5, 0, true), fragment(junk(17), 5, 8, false))), allowed},
		{"later fragment of an echo", there(fragment(echo(8, 7), 5, 0, true), fragment(junk(1), 5, 8, false)), allowed},
		{"first fragment without TCP's flags", there(fragment(junk(6), 5, 0, true)), denied},
		{"fragment over TCP's flags", there(fragment(tcp(40000, 80, ack), 5, 0, true), fragment(junk(6), 5, 1, false)), denied},
		{"fragment behind TCP's header", there(fragment(tcp(40000, 80, ack), 5, 0, true), fragment(junk(6), 5, 3, false)), allowed},

		// What has no ports to judge by.
		{"UDP without a whole header", there(raw(17, make([]byte, 7))), denied},
		{"TCP without a whole header", there(raw(6, make([]byte, 19))), denied},
		{"TCP header in the padding", there(padded(tcp(40000, 80, ack), 0)), denied},
		{"UDP header in the padding", there(padded(udp(40000, 80), 0)), denied},
		{"ICMP header in the padding", there(padded(echo(8, 7), 0)), denied},
		{"quoted packet in the padding", back(padded(icmp(3, 4, 0, quote(there(tcp(40000, 80, ack)))), 8)), denied},
		{"ICMP without a whole header", there(raw(1, []byte{8, 0, 0, 0})), denied},
		{"GRE", there(raw(47, make([]byte, 8))), denied},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, mode := range []uint32{modeOpen, modeDryRun, modeEnforce} {
				w := newWorld(t)
				w.policy(mode, SwitchRuleKey{From: ownGroup, To: neighborGroup, Protocol: 6, Port: 80},
					SwitchRuleKey{From: ownGroup, To: neighborGroup, Protocol: 17, Port: 80},
					SwitchRuleKey{From: ownGroup, To: neighborGroup, Protocol: 1})
				var got uint32
				var before, after [3]uint64
				var drop uint64
				for _, s := range c.sends {
					before, drop = w.packets(), drops(t, w.objs)[policyDenied]
					got = w.send(s)
					after = w.packets()
				}
				want, verdict := uint32(redirect), allowed
				if c.want == denied && mode == modeEnforce {
					want, verdict, drop = shot, denied, drop+1
				}
				if c.want == denied && mode == modeDryRun {
					verdict = wouldDeny
				}
				before[verdict]++
				if got != want || after != before {
					t.Errorf("mode %d: action %d, want %d; packets by verdict %v, want %v", mode, got, want, after, before)
				}
				if now := drops(t, w.objs)[policyDenied]; now != drop {
					t.Errorf("mode %d: %d drops by policy, want %d", mode, now, drop)
				}
			}
		})
	}
}

// Which rules match what: each field by itself, "any" in each.
func TestRules(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		rule SwitchRuleKey
		want bool
	}{
		"exact":             {SwitchRuleKey{From: ownGroup, To: neighborGroup, Protocol: 6, Port: 80}, true},
		"any from":          {SwitchRuleKey{To: neighborGroup, Protocol: 6, Port: 80}, true},
		"any to":            {SwitchRuleKey{From: ownGroup, Protocol: 6, Port: 80}, true},
		"any protocol":      {SwitchRuleKey{From: ownGroup, To: neighborGroup, Port: 80}, true},
		"any port":          {SwitchRuleKey{From: ownGroup, To: neighborGroup, Protocol: 6}, true},
		"anything":          {SwitchRuleKey{}, true},
		"other from":        {SwitchRuleKey{From: 99, To: neighborGroup, Protocol: 6, Port: 80}, false},
		"other to":          {SwitchRuleKey{From: ownGroup, To: 99, Protocol: 6, Port: 80}, false},
		"other protocol":    {SwitchRuleKey{From: ownGroup, To: neighborGroup, Protocol: 17, Port: 80}, false},
		"other port":        {SwitchRuleKey{From: ownGroup, To: neighborGroup, Protocol: 6, Port: 81}, false},
		"any but the port":  {SwitchRuleKey{Port: 81}, false},
		"the groups turned": {SwitchRuleKey{From: neighborGroup, To: ownGroup, Protocol: 6, Port: 80}, false},
	} {
		// Alone, and beside rules of every shape that match nothing.
		for _, others := range []bool{false, true} {
			rules := []SwitchRuleKey{c.rule}
			for shape := range 16 {
				if others && shape != 15 {
					rules = append(rules, SwitchRuleKey{From: unless(shape, 0, uint32(77)), To: unless(shape, 1, uint32(77)),
						Protocol: unless(shape, 2, uint8(77)), Port: unless(shape, 3, uint16(77))})
				}
			}
			w.policy(modeEnforce, rules...)
			if got := w.send(sent{own, tcp(40000, 80, syn)}) == redirect; got != c.want {
				t.Errorf("rule %s, others beside it %v: passes %v", name, others, got)
			}
		}
	}
}

// Who has no group is reached, and reaches, by "any" alone.
func TestNoGroup(t *testing.T) {
	w := newWorld(t)
	w.join(own, 1, 0)
	w.policy(modeEnforce, SwitchRuleKey{From: ownGroup, To: neighborGroup}, SwitchRuleKey{From: neighborGroup, To: ownGroup})
	if got := w.send(sent{own, udp(40000, 80)}); got != shot {
		t.Errorf("from no group: action %d", got)
	}
	if got := w.send(sent{neighbor, udp(40000, 80)}); got != shot {
		t.Errorf("to no group: action %d", got)
	}
	w.policy(modeEnforce, SwitchRuleKey{To: neighborGroup})
	if got := w.send(sent{own, udp(40000, 80)}); got != redirect {
		t.Errorf("from no group, by \"any\": action %d", got)
	}
}

// A conversation that was allowed ends with its rule, at the next packet, from
// both sides; and goes on when the rule comes back.
func TestRuleGoes(t *testing.T) {
	for name, c := range map[string][2][]byte{
		"TCP":  {tcp(40000, 80, ack), tcp(80, 40000, ack)},
		"UDP":  {udp(40000, 80), udp(80, 40000)},
		"ping": {icmp(8, 0, 7, nil), icmp(0, 0, 7, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			rules := []SwitchRuleKey{{From: ownGroup, To: neighborGroup}}
			for _, want := range []uint32{redirect, shot, redirect} {
				w.policy(modeEnforce, rules...)
				if got := w.send(sent{own, c[0]}); got != want {
					t.Errorf("rules %v: action %d for the client, want %d", rules, got, want)
				}
				if got := w.send(sent{neighbor, c[1]}); got != want {
					t.Errorf("rules %v: action %d for the server, want %d", rules, got, want)
				}
				if rules == nil {
					rules = []SwitchRuleKey{{From: ownGroup, To: neighborGroup}}
				} else {
					rules = nil
				}
			}
		})
	}
}

// With its rule gone, a connection does not go on as if it had been opened from
// the other side, which a rule allows.
func TestOtherDirectionIsAllowed(t *testing.T) {
	w := newWorld(t)
	w.policy(modeEnforce, SwitchRuleKey{From: ownGroup, To: neighborGroup})
	w.send(sent{own, tcp(40000, 80, syn)})
	w.policy(modeEnforce, SwitchRuleKey{From: neighborGroup, To: ownGroup})
	for _, s := range []sent{{own, tcp(40000, 80, ack)}, {neighbor, tcp(80, 40000, ack)},
		from(neighbor, icmp(3, 4, 0, quote(from(own, tcp(40000, 80, ack)))))[0]} {
		if got := w.send(s); got != shot {
			t.Errorf("from %s: action %d", s.by, got)
		}
	}
	w.send(sent{neighbor, tcp(40001, 80, syn)})
	for _, s := range []sent{{neighbor, tcp(40001, 80, ack)}, {own, tcp(80, 40001, ack)}} {
		if got := w.send(s); got != redirect {
			t.Errorf("from %s, in the allowed direction: action %d", s.by, got)
		}
	}
}

// A policy is of its network alone.
func TestPolicyOfAnotherNetwork(t *testing.T) {
	w := newWorld(t)
	w.policy(modeEnforce)
	put(t, w.objs.PnPolicies, uint32(2), SwitchPolicy{Id: 77, Mode: modeEnforce})
	if got := w.send(sent{own, udp(40000, 80)}); got != shot {
		t.Errorf("action %d", got)
	}
	if err := w.objs.PnPolicies.Delete(uint32(1)); err != nil {
		t.Fatal(err)
	}
	if got := w.send(sent{own, udp(40000, 80)}); got != redirect {
		t.Errorf("without a policy: action %d", got)
	}
}

// An answer is let through for three minutes after the last packet.
func TestIdleConversation(t *testing.T) {
	w := newWorld(t)
	w.policy(modeEnforce, SwitchRuleKey{From: ownGroup, To: neighborGroup})
	w.send(sent{own, udp(40000, 80)})
	key := SwitchPairKey{Network: 1, Low: word(own), High: word(neighbor), LowPort: 40000, HighPort: 80, Protocol: 17}
	var o SwitchOpened
	if err := w.objs.PnOpened.Lookup(key, &o); err != nil || o.By[0] == 0 || o.By[1] != 0 {
		t.Fatalf("opened %+v, %v", o, err)
	}
	opened := o.By[0]
	for _, c := range []struct {
		ago  uint64 // seconds
		want uint32
	}{{170, redirect}, {190, shot}} {
		o.By[0] = opened - c.ago*1e9
		put(t, w.objs.PnOpened, key, o)
		if got := w.send(sent{neighbor, udp(80, 40000)}); got != c.want {
			t.Errorf("after %d s: action %d, want %d", c.ago, got, c.want)
		}
	}
}

// What was denied opens nothing, and an error is no sign of life.
func TestWhatOpensNothing(t *testing.T) {
	w := newWorld(t)
	w.policy(modeEnforce)
	var key SwitchPairKey
	var o SwitchOpened
	for _, f := range [][]byte{tcp(40000, 80, syn), udp(40000, 80), icmp(8, 0, 7, nil)} {
		w.send(sent{own, f})
	}
	if w.objs.PnOpened.Iterate().Next(&key, &o) || w.objs.PnConnections.Iterate().Next(&key, &o) {
		t.Errorf("denied, but remembered: %+v", key)
	}
	w.policy(modeEnforce, SwitchRuleKey{From: ownGroup, To: neighborGroup})
	w.send(sent{own, udp(40000, 80)})
	if !w.objs.PnOpened.Iterate().Next(&key, &o) {
		t.Fatal("allowed, but not remembered")
	}
	o.By[0] -= 100e9
	put(t, w.objs.PnOpened, key, o)
	want := o
	w.send(from(neighbor, icmp(3, 3, 0, quote(from(own, udp(40000, 80)))))[0])
	if err := w.objs.PnOpened.Lookup(key, &o); err != nil || o != want {
		t.Errorf("after an error %+v, want %+v; %v", o, want, err)
	}
}

// A port that has begun too many conversations in a second begins more, but
// they are not remembered; that costs its TCP connections nothing.
func TestFloodOfConversations(t *testing.T) {
	w := newWorld(t)
	port := uint16(1000)
	var before int
	w.inOneSecond(SwitchPace{Added: [6]uint32{paceOpened: 2046}}, func() {
		before = count(w.objs.PnOpened)
		for range 5 {
			port++
			if got := w.send(sent{own, udp(port, 80)}); got != redirect {
				t.Fatalf("action %d", got)
			}
		}
		w.send(sent{own, tcp(40000, 80, syn)})
	})
	if got := count(w.objs.PnOpened) - before; got != 2 {
		t.Errorf("%d conversations remembered, want 2", got)
	}
	if count(w.objs.PnConnections) != 1 {
		t.Error("the connection is not remembered")
	}
}

// A TCP connection that cannot be remembered is not opened: whoever it was
// opened by would not be known when the policy changes.
func TestFloodOfConnections(t *testing.T) {
	for _, mode := range []uint32{modeOpen, modeDryRun, modeEnforce} {
		w := newWorld(t)
		w.policy(mode, SwitchRuleKey{From: ownGroup, To: neighborGroup})
		port := uint16(1000)
		var actions []uint32
		var dropped uint64
		w.inOneSecond(SwitchPace{Added: [6]uint32{paceConnections: 8190}}, func() {
			actions, dropped = nil, drops(t, w.objs)[paceExceeded]
			for range 4 {
				port++
				actions = append(actions, w.send(sent{own, tcp(port, 80, syn)}))
			}
		})
		if want := []uint32{redirect, redirect, shot, shot}; !slices.Equal(actions, want) {
			t.Errorf("mode %d: actions %v, want %v", mode, actions, want)
		}
		if got := drops(t, w.objs)[paceExceeded] - dropped; got != 2 {
			t.Errorf("mode %d: %d drops for that reason, want 2", mode, got)
		}
		for _, s := range []sent{{own, tcp(port-3, 80, syn)}, {own, tcp(port-3, 80, ack)}, {neighbor, tcp(80, port-3, ack)}, {own, udp(port, 80)}} {
			if got := w.send(s); got != redirect {
				t.Errorf("mode %d: action %d for what needs no new note", mode, got)
			}
		}
	}
}

// A fragment that cannot be remembered leaves its later ones without it.
func TestFloodOfFragments(t *testing.T) {
	w := newWorld(t)
	id := uint16(1)
	var before int
	w.inOneSecond(SwitchPace{Added: [6]uint32{paceFragments: 510}}, func() {
		before = count(w.objs.PnFragments)
		for range 5 {
			id++
			w.send(sent{own, fragment(udp(40000, 80), id, 0, true)})
		}
	})
	if got := count(w.objs.PnFragments) - before; got != 2 {
		t.Errorf("%d fragments remembered, want 2", got)
	}
}

// The late answer to a question that is not allowed any more is no question,
// although its sender may ask: that would let the asker answer it, from then on.
func TestLateAnswerIsNoQuestion(t *testing.T) {
	w := newWorld(t)
	ask, answer := sent{own, udp(53, 9000)}, sent{neighbor, udp(9000, 53)}
	w.policy(modeOpen)
	w.send(ask)
	w.policy(modeEnforce, SwitchRuleKey{From: neighborGroup, To: ownGroup, Protocol: 17, Port: 53})
	for _, s := range []sent{ask, answer, ask} {
		if got := w.send(s); got != shot {
			t.Errorf("from %s: action %d", s.by, got)
		}
	}
	// Three minutes later the first conversation is over.
	key := SwitchPairKey{Network: 1, Low: word(own), High: word(neighbor), LowPort: 53, HighPort: 9000, Protocol: 17}
	var o SwitchOpened
	if err := w.objs.PnOpened.Lookup(key, &o); err != nil || o.By[1] != 0 {
		t.Fatalf("opened %+v, %v", o, err)
	}
	o.By[0] -= 190e9
	put(t, w.objs.PnOpened, key, o)
	for _, s := range []sent{answer, ask} { // now a question, and its answer
		if got := w.send(s); got != redirect {
			t.Errorf("later, from %s: action %d", s.by, got)
		}
	}
}

func count(m *ebpf.Map) (n int) {
	key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
	for entries := m.Iterate(); entries.Next(&key, &value); {
		n++
	}
	return n
}

// inOneSecond does something within one second of the port's pace, of which so
// much is used; again if a new second began meanwhile.
func (w *world) inOneSecond(used SwitchPace, do func()) {
	w.t.Helper()
	second := func() uint64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			w.t.Fatal(err)
		}
		return uint64(ts.Nano()) >> 30
	}
	for range 8 {
		used.Second = second()
		put(w.t, w.objs.PnPace, uint32(testPort), used)
		do()
		if second() == used.Second {
			return
		}
	}
	w.t.Fatal("a few packets do not fit into a second")
}

// world is the program with two members of network 1, who take turns at the
// port that a test run's frames come in on.
type world struct {
	t    *testing.T
	objs *SwitchObjects
	id   uint32
	who  map[netip.Addr]SwitchPort
}

// sent is a frame and who sends it to the other.
type sent struct {
	by    netip.Addr
	frame []byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, objs: load(t), who: map[netip.Addr]SwitchPort{}}
	w.join(own, 1, ownGroup)
	w.join(neighbor, 1, neighborGroup)
	return w
}

func (w *world) join(addr netip.Addr, network, group uint32) {
	w.t.Helper()
	w.who[addr] = SwitchPort{Network: network, Addr: word(addr), Mac: words(addr), Group: group}
	put(w.t, w.objs.PnMembers, SwitchMemberKey{Network: network, Addr: word(addr)},
		SwitchMember{Ifindex: 2, Mac: words(addr), Group: group})
}

// policy gives network 1 these rules, as a new version.
func (w *world) policy(mode uint32, rules ...SwitchRuleKey) {
	w.t.Helper()
	w.id++
	p := SwitchPolicy{Id: w.id, Mode: mode}
	for _, r := range rules {
		r.Policy = w.id
		put(w.t, w.objs.PnRules, r, uint32(1))
		shape := SwitchShape{From: ones(r.From), To: ones(r.To), Protocol: ones(r.Protocol), Port: ones(r.Port)}
		if !slices.Contains(p.Shape[:p.Shapes], shape) {
			p.Shape[p.Shapes] = shape
			p.Shapes++
		}
	}
	put(w.t, w.objs.PnPolicies, uint32(1), p)
}

func (w *world) send(s sent) uint32 {
	w.t.Helper()
	s = from(s.by, s.frame)[0]
	put(w.t, w.objs.PnPorts, uint32(testPort), w.who[s.by])
	return run(w.t, w.objs, s.frame)
}

// flows returns the flows, all processors together.
func (w *world) flows() map[SwitchFlowKey]SwitchFlow {
	w.t.Helper()
	all := map[SwitchFlowKey]SwitchFlow{}
	var k SwitchFlowKey
	var perCPU []SwitchFlow
	entries := w.objs.PnFlows.Iterate()
	for entries.Next(&k, &perCPU) {
		var f SwitchFlow
		for _, v := range perCPU {
			f.Packets += v.Packets
			f.Bytes += v.Bytes
			f.ReplyPackets += v.ReplyPackets
			f.ReplyBytes += v.ReplyBytes
		}
		all[k] = f
	}
	if err := entries.Err(); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// packets returns how many packets the flows have of each verdict.
func (w *world) packets() (byVerdict [3]uint64) {
	w.t.Helper()
	for k, f := range w.flows() {
		byVerdict[k.Verdict] += f.Packets + f.ReplyPackets
	}
	return byVerdict
}

// Flags of TCP.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	ack = 0x10
)

// The makers of frames leave the addresses out; from fills them in.
func from(by netip.Addr, frames ...[]byte) []sent {
	to := neighbor
	if by == neighbor {
		to = own
	}
	var all []sent
	for _, f := range frames {
		f = slices.Clone(f)
		dst, src := mac(to), mac(by)
		copy(f, dst[:])
		copy(f[6:], src[:])
		copy(f[26:], by.AsSlice())
		copy(f[30:], to.AsSlice())
		all = append(all, sent{by, f})
	}
	return all
}

// raw is an IPv4 frame from own to the neighbour.
func raw(protocol byte, payload []byte) []byte {
	f := append(ipv4Frame(own, neighbor, 0), payload...)
	f[23] = protocol
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	return f
}

func tcp(from, to uint16, flags byte) []byte {
	b := make([]byte, 24) // with 4 bytes of data, so that it can be cut in 8s
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	b[12], b[13] = 5<<4, flags
	return raw(6, b)
}

func udp(from, to uint16) []byte {
	b := make([]byte, 16)
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	b[5] = 16
	return raw(17, b)
}

func icmp(kind, code byte, id uint16, quoted []byte) []byte {
	b := make([]byte, 8, 8+len(quoted))
	b[0], b[1] = kind, code
	binary.BigEndian.PutUint16(b[4:], id)
	return raw(1, append(b, quoted...))
}

// quote is what an error says of a frame: its IP header and 8 bytes.
func quote(s []sent) []byte { return s[0].frame[14:42] }

// junk is 8 bytes that say nothing.
func junk(protocol byte) []byte { return raw(protocol, make([]byte, 8)) }

// fragment makes the frame one of packet id, so many times 8 bytes into it.
func fragment(f []byte, id, offset uint16, more bool) []byte {
	f = slices.Clone(f)
	binary.BigEndian.PutUint16(f[18:], id)
	if more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(f[20:], offset)
	return f
}

// padded says that the packet ends so many bytes after its IP header.
func padded(f []byte, payload uint16) []byte {
	binary.BigEndian.PutUint16(f[16:], 20+payload)
	return f
}

func with(b []byte, at int, bytes ...byte) []byte {
	b = slices.Clone(b)
	copy(b[at:], bytes)
	return b
}

func ones[T uint8 | uint16 | uint32](v T) T {
	if v == 0 {
		return 0
	}
	return ^T(0)
}

func unless[T any](bits, n int, v T) (zero T) {
	if bits>>n&1 == 1 {
		return zero
	}
	return v
}
