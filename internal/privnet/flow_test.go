package privnet

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// What was sent is what is counted, in packets and in bytes.
func TestFlowsAreExact(t *testing.T) {
	s := open(t, newConfig(t))
	client, server := grouped(t, s, 1, "10.240.0.1", 11), grouped(t, s, 1, "10.240.0.2", 22)
	bystander := grouped(t, s, 2, "10.240.0.2", 33) // the same address elsewhere
	server.echo(7000)
	bystander.echo(7000)
	start := time.Now()

	// From many sockets, as one flow.
	const sockets, each = 5, 40
	for range sockets {
		c, err := client.dial("udp4", 0, server.addr, 7000, patience)
		if err != nil {
			t.Fatal(err)
		}
		for range each {
			if err := exchange(c, "0123456789", patience); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		if err := client.ping(server.addr, 56, patience); err != nil {
			t.Fatal(err)
		}
	}
	want := Flow{Network: 1, From: client.addr, To: server.addr, FromGroup: 11, ToGroup: 22, Protocol: UDP, Port: 7000,
		Packets: sockets * each, Bytes: sockets * each * 38, ReplyPackets: sockets * each, ReplyBytes: sockets * each * 38}
	got := flow(t, s, UDP, 7000, Allowed)
	if got.LastSeen.Before(start.Add(-time.Second)) || got.LastSeen.After(time.Now().Add(time.Second)) {
		t.Errorf("last seen %v, sent from %v on", got.LastSeen, start)
	}
	got.LastSeen = time.Time{}
	if got != want {
		t.Errorf("flow %+v, want %+v", got, want)
	}
	if f := flow(t, s, ICMP, 0, Allowed); f.Packets != 3 || f.Bytes != 3*84 || f.ReplyPackets != 3 || f.ReplyBytes != 3*84 {
		t.Errorf("pings: %+v, want 3 of 84 bytes each way", f)
	}
	if got := flows(t, s); len(got) != 2 || got[0].Protocol != ICMP {
		t.Errorf("flows %+v, want two, the latest first", got)
	}
}

// Large segments count as the packets they stand for.
func TestFlowOfBulk(t *testing.T) {
	s := open(t, newConfig(t))
	client, server := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	server.echo(7000)
	c, err := client.dial("tcp4", 0, server.addr, 7000, patience)
	if err != nil {
		t.Fatal(err)
	}
	const size = 4 << 20
	go c.Write(bytes.Repeat([]byte("x"), size))
	c.SetDeadline(time.Now().Add(6 * patience))
	if _, err := io.CopyN(io.Discard, c, size); err != nil {
		t.Fatal(err)
	}
	f := flow(t, s, TCP, 7000, Allowed)
	if f.From != client.addr || f.Bytes < size || f.ReplyBytes < size || f.Bytes > size*11/10 {
		t.Errorf("flow %+v for %d bytes each way", f, size)
	}
	if mean := f.Bytes / f.Packets; mean > DefaultMTU {
		t.Errorf("a packet has %d bytes on average, the MTU is %d", mean, DefaultMTU)
	}
}
