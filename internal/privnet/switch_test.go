package privnet

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

func TestMembersOfTwoNetworks(t *testing.T) {
	s := open(t, newConfig(t))
	a1, a2 := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.3.254")
	b1, b2 := member(t, s, 2, "10.240.0.1"), member(t, s, 2, "10.240.3.254")
	b3 := member(t, s, 2, "10.240.0.3")
	a2.answer("a2")
	b2.answer("b2")
	b3.answer("b3")

	a2.heard()
	for _, c := range []struct {
		from *box
		want string
	}{{a1, "a2"}, {b1, "b2"}} {
		if err := c.from.ping(a2.addr, 56, patience); err != nil {
			t.Errorf("ping of %s: %v", c.want, err)
		}
		if err := c.from.ping(a2.addr, 6000, patience); err != nil {
			t.Errorf("ping of %s in fragments: %v", c.want, err)
		}
		if got, err := c.from.ask(a2.addr, patience); got != c.want || err != nil {
			t.Errorf("asked %s, heard %q, %v", c.want, got, err)
		}
	}
	// Packets go straight into the container, past its host end's queue; ARP
	// answers are all that leaves by it.
	host, err := s.links.LinkByName(hostName(a2.endpoint(1).ID))
	if err != nil {
		t.Fatal(err)
	}
	if out, in := host.Attrs().Statistics.TxPackets, a2.heard(); out > in/2 {
		t.Errorf("%d of %d packets took the slow way", out, in)
	}
	before := b3.heard()
	if got, err := a1.ask(b3.addr, quiet); err == nil || !isTimeout(err) {
		t.Errorf("asked across networks, heard %q, %v", got, err)
	}
	if got := b3.heard(); got != before {
		t.Errorf("%d packets crossed", got-before)
	}
	if got, err := b1.ask(b3.addr, patience); got != "b3" || err != nil {
		t.Errorf("in its own network: %q, %v", got, err)
	}
	if got := drops(t, s)[ARPUnknown]; got == 0 {
		t.Error("the question for an address of another network was not counted")
	}
}

// Large TCP segments are passed on whole, and arrive as they were sent.
func TestBulkIsIntact(t *testing.T) {
	const size = 64 << 20
	s := open(t, newConfig(t))
	a, b := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	var listener net.Listener
	b.do(func() (err error) {
		listener, err = net.Listen("tcp4", "10.240.0.2:7001")
		return err
	})
	defer listener.Close()
	received := make(chan string, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			received <- err.Error()
			return
		}
		defer c.Close()
		hash := sha256.New()
		n, err := io.Copy(hash, c)
		received <- fmt.Sprintf("%d bytes, %x, %v", n, hash.Sum(nil), err)
	}()

	hash := sha256.New()
	before := b.counters()
	a.do(func() error {
		c, err := net.DialTimeout("tcp4", "10.240.0.2:7001", patience)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(6 * patience))
		data := io.LimitReader(rand.NewChaCha8([32]byte{}), size)
		_, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(c, hash)}, data, make([]byte, 12345))
		return err
	})
	if got, want := <-received, fmt.Sprintf("%d bytes, %x, <nil>", size, hash.Sum(nil)); got != want {
		t.Errorf("received %s; sent %s", got, want)
	}
	after := b.counters()
	if after.RxBytes-before.RxBytes < size {
		t.Log("this kernel does not count redirected packets at the interface, so their size is not checked")
	} else if mean := (after.RxBytes - before.RxBytes) / (after.RxPackets - before.RxPackets); mean <= DefaultMTU {
		t.Errorf("segments were cut before delivery: %d bytes on average", mean)
	}
}

func TestContainerSide(t *testing.T) {
	s := open(t, newConfig(t))
	b := member(t, s, 1, "10.240.0.1")
	addrs, routes := b.has(t)
	if got := sorted(addrs); got != "10.240.0.1/32" {
		t.Errorf("addresses of %s: %s", Interface, got)
	}
	if got := sorted(routes); got != "10.240.0.0/22 scope link src 10.240.0.1" {
		t.Errorf("routes of %s: %s", Interface, got)
	}
	b.do(func() error {
		link, err := netlink.LinkByName(Interface)
		if err != nil {
			return err
		}
		if got := link.Attrs().HardwareAddr.String(); got != "02:a7:0a:f0:00:01" {
			t.Errorf("MAC %s", got)
		}
		if got := link.Attrs().MTU; got != DefaultMTU {
			t.Errorf("MTU %d", got)
		}
		return nil
	})
	if got := b.counters().TxPackets; got != 0 {
		t.Errorf("%s sent %d packets by itself", Interface, got)
	}
}

func TestProbeFindsNothingMissingHere(t *testing.T) {
	newConfig(t) // skips without root
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range Probe() {
		t.Error(p)
	}
	after, err := netlink.LinkList()
	if err != nil || len(after) != len(links) {
		t.Errorf("%d links before, %d after, %v", len(links), len(after), err)
	}
}

func BenchmarkAttach(b *testing.B) {
	s := open(b, newConfig(b))
	box := newBox(b)
	box.addr = FirstAddr
	e := box.endpoint(1)
	var attach, detach time.Duration
	for b.Loop() {
		start := time.Now()
		if err := s.Attach(context.Background(), e); err != nil {
			b.Fatal(err)
		}
		attached := time.Now()
		if err := s.Detach(context.Background(), e.ID); err != nil {
			b.Fatal(err)
		}
		attach += attached.Sub(start)
		detach += time.Since(attached)
	}
	b.ReportMetric(attach.Seconds()*1e3/float64(b.N), "ms/attach")
	b.ReportMetric(detach.Seconds()*1e3/float64(b.N), "ms/detach")
}

var cmpAddr = cmp.Comparer(func(a, b fmt.Stringer) bool { return a.String() == b.String() })

func clsact(link netlink.Link) netlink.Qdisc {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}
