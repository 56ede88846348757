package bpf

import (
	"maps"
	"slices"
	"testing"
)

// Who is the client of what is seen, in an open network: by flags, by who
// began, and by the ports where nothing else is known.
func TestFlowDirection(t *testing.T) {
	there := func(f ...[]byte) []sent { return from(own, f...) }
	back := func(f ...[]byte) []sent { return from(neighbor, f...) }
	tcpFlow := func(port uint16) SwitchFlowKey { return flowTo(6, port) }

	for _, c := range []struct {
		name    string
		sends   []sent
		want    SwitchFlowKey
		packets uint64
		replies uint64
	}{
		{"TCP", slices.Concat(there(tcp(40000, 80, syn)), back(tcp(80, 40000, syn|ack)), there(tcp(40000, 80, ack), tcp(40000, 80, ack)), back(tcp(80, 40000, fin|ack))), tcpFlow(80), 3, 2},
		{"TCP to a port above the client's", slices.Concat(there(tcp(40000, 50000, syn)), back(tcp(50000, 40000, syn|ack), tcp(50000, 40000, ack)), there(tcp(40000, 50000, ack))), tcpFlow(50000), 2, 2},
		{"TCP not seen to open", slices.Concat(back(tcp(80, 40000, ack)), there(tcp(40000, 80, ack))), tcpFlow(80), 1, 1},
		{"TCP not seen to open, equal ports", slices.Concat(back(tcp(80, 80, ack)), there(tcp(80, 80, ack))), tcpFlow(80), 1, 1},
		{"SYN+ACK first", slices.Concat(back(tcp(50000, 40000, syn|ack))), tcpFlow(50000), 0, 1},
		{"many connections", slices.Concat(there(tcp(40000, 80, syn), tcp(40001, 80, syn)), back(tcp(80, 40001, syn|ack))), tcpFlow(80), 2, 1},
		{"UDP", slices.Concat(there(udp(40000, 53)), back(udp(53, 40000))), flowTo(17, 53), 1, 1},
		{"UDP to a port above the client's", slices.Concat(there(udp(40000, 50000)), back(udp(50000, 40000), udp(50000, 40000))), flowTo(17, 50000), 1, 2},
		{"UDP with equal ports", slices.Concat(there(udp(7946, 7946)), back(udp(7946, 7946)), there(udp(7946, 7946))), flowTo(17, 7946), 2, 1},
		{"ping", slices.Concat(there(icmp(8, 0, 7, nil), icmp(8, 0, 9, nil)), back(icmp(0, 0, 7, nil))), flowTo(1, 0), 2, 1},
		{"ICMP error", slices.Concat(there(udp(40000, 53)), back(icmp(3, 3, 0, quote(there(udp(40000, 53)))))), flowTo(17, 53), 1, 1},
		{"fragments", there(fragment(udp(40000, 53), 5, 0, true), fragment(junk(17), 5, 8, false)), flowTo(17, 53), 2, 0},
		{"GRE", slices.Concat(there(raw(47, make([]byte, 8))), back(raw(47, make([]byte, 8)))), flowTo(47, 0), 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			var bytes, replyBytes uint64
			for _, s := range c.sends {
				if got := w.send(s); got != redirect {
					t.Fatalf("action %d", got)
				}
				if s.by == own {
					bytes += uint64(len(s.frame) - 14)
				} else {
					replyBytes += uint64(len(s.frame) - 14)
				}
			}
			want := map[SwitchFlowKey]SwitchFlow{c.want: {Packets: c.packets, Bytes: bytes, ReplyPackets: c.replies, ReplyBytes: replyBytes}}
			if got := w.flows(); !maps.Equal(got, want) {
				t.Errorf("flows %+v\nwant %+v", got, want)
			}
		})
	}
}

// Nothing of one packet is left to the next.
func TestPortlessAfterPorts(t *testing.T) {
	w := newWorld(t)
	w.send(sent{own, udp(40000, 53)})
	w.send(sent{own, raw(47, make([]byte, 8))})
	if f := w.flows(); f[flowTo(17, 53)].Packets != 1 || f[flowTo(47, 0)].Packets != 1 {
		t.Errorf("flows %+v", f)
	}
}

// Of a connection not seen to open, a rule says which side is the server.
func TestRuleTellsDirection(t *testing.T) {
	w := newWorld(t)
	w.policy(modeEnforce, SwitchRuleKey{From: ownGroup, To: neighborGroup, Protocol: 6, Port: 50000})
	for _, s := range []sent{{own, tcp(40000, 50000, ack)}, {neighbor, tcp(50000, 40000, ack)}} {
		w.send(s)
	}
	if f := w.flows()[flowTo(6, 50000)]; f.Packets != 1 || f.ReplyPackets != 1 {
		t.Errorf("flows %+v", w.flows())
	}
}

// A connection that uses the ports of a former one, the other way round.
func TestPortsUsedAgain(t *testing.T) {
	w := newWorld(t)
	for _, s := range slices.Concat(from(own, tcp(40000, 50000, syn)), from(neighbor, tcp(50000, 40000, syn), tcp(50000, 40000, ack)), from(own, tcp(40000, 50000, ack))) {
		w.send(s)
	}
	if got := w.flows()[flowTo(6, 50000)]; got.Packets != 1 || got.ReplyPackets != 0 {
		t.Errorf("the first connection has %+v", got)
	}
	second := SwitchFlowKey{Network: 1, Client: word(neighbor), Server: word(own), ClientGroup: neighborGroup, ServerGroup: ownGroup, Port: 40000, Protocol: 6}
	if got := w.flows()[second]; got.Packets != 2 || got.ReplyPackets != 1 {
		t.Errorf("the second connection has %+v", got)
	}
}

// A container that talks to every port gets a flow for some, and one for the
// rest; and does not push out what is known of others.
func TestFloodOfFlows(t *testing.T) {
	w := newWorld(t)
	port := uint16(1000)
	var before, together int
	w.inOneSecond(SwitchPace{Added: [6]uint32{paceFlows: 246}}, func() {
		before, together = len(w.flows()), int(w.flows()[flowTo(0, 0)].Packets)
		for range 30 {
			port++
			w.send(sent{own, udp(40000, port)})
		}
	})
	flows := w.flows()
	if added := len(flows) - before; added != 10 && added != 11 { // and the one for the rest
		t.Errorf("%d flows added, want 10 and one for the rest", added)
	}
	if got := int(flows[flowTo(0, 0)].Packets) - together; got != 20 {
		t.Errorf("%d packets counted together, want 20", got)
	}
}

// Drops are counted by who and where to; a flood of destinations together.
func TestDropped(t *testing.T) {
	w := newWorld(t)
	w.policy(modeEnforce)
	spoofed := ipv4Frame(neighbor, neighbor, 8)
	for range 3 {
		w.send(sent{own, udp(40000, 80)})
		put(t, w.objs.PnPorts, uint32(testPort), w.who[own])
		run(t, w.objs, spoofed)
		run(t, w.objs, arpRequest(own, nobody))
	}
	got := w.dropped()
	for key, want := range map[SwitchDropKey]uint64{
		{Network: 1, From: word(own), Group: ownGroup, To: word(neighbor), Reason: policyDenied}: 3,
		{Network: 1, From: word(own), Group: ownGroup, To: word(neighbor), Reason: spoofedIP}:    3,
		{Network: 1, From: word(own), Group: ownGroup, To: word(nobody), Reason: arpUnknown}:     3,
	} {
		if got[key] != want {
			t.Errorf("%+v: %d, want %d", key, got[key], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("entries %+v", got)
	}

	together := SwitchDropKey{Network: 1, From: word(own), Group: ownGroup, Reason: arpUnknown}
	var before int
	var rest uint64
	last := byte(10)
	w.inOneSecond(SwitchPace{Added: [6]uint32{paceDropped: 118}}, func() {
		before, rest = len(w.dropped()), w.dropped()[together]
		for range 30 {
			f := arpRequest(own, nobody)
			last++
			f[40], f[41] = 1+last>>7, last
			run(t, w.objs, f)
		}
	})
	got = w.dropped()
	if added := len(got) - before; added != 10 && added != 11 {
		t.Errorf("%d entries added, want 10 and one for the rest", added)
	}
	if n := got[together] - rest; n != 20 {
		t.Errorf("%d drops counted together, want 20", n)
	}
}

func (w *world) dropped() map[SwitchDropKey]uint64 {
	w.t.Helper()
	all := map[SwitchDropKey]uint64{}
	var k SwitchDropKey
	var v SwitchDropped
	entries := w.objs.PnDropped.Iterate()
	for entries.Next(&k, &v) {
		all[k] = v.Count
	}
	if err := entries.Err(); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// flowTo is a flow from own to a service of the neighbour.
func flowTo(protocol uint8, port uint16) SwitchFlowKey {
	return SwitchFlowKey{Network: 1, Client: word(own), Server: word(neighbor), ClientGroup: ownGroup, ServerGroup: neighborGroup,
		Port: port, Protocol: protocol}
}
