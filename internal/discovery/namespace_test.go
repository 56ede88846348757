package discovery

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// container is a network namespace with a container's addresses and no way
// out, without a process.
type container struct {
	t  *testing.T
	ns netns.NsHandle
}

func newContainer(t *testing.T) *container {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace")
	}
	c := &container{t: t}
	err := namespace.DoNew(func() (err error) {
		if c.ns, err = netns.Get(); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		for _, a := range []string{"10.240.0.2/32", "172.17.0.2/32"} {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(lo, addr); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.ns.Close() })
	return c
}

func (c *container) path() string { return fmt.Sprintf("/proc/self/fd/%d", c.ns) }

// do runs f inside.
func (c *container) do(f func() error) {
	c.t.Helper()
	if err := namespace.Do(c.ns, f); err != nil {
		c.t.Fatal(err)
	}
}

// listen opens a socket inside.
func (c *container) listen(network, addr string, control ...func(fd uintptr) error) func() {
	c.t.Helper()
	var closer func() error
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		ctl := raw.Control(func(fd uintptr) {
			for _, f := range control {
				err = f(fd)
			}
		})
		if ctl != nil {
			return ctl
		}
		return err
	}}
	c.do(func() error {
		if network == "tcp" || network == "tcp4" || network == "tcp6" {
			l, err := lc.Listen(context.Background(), network, addr)
			if err == nil {
				closer = l.Close
			}
			return err
		}
		p, err := lc.ListenPacket(context.Background(), network, addr)
		if err == nil {
			closer = p.Close
		}
		return err
	})
	c.t.Cleanup(func() { closer() })
	return func() { closer() }
}

func TestSocketsOfARealNamespace(t *testing.T) {
	c := newContainer(t)
	c.listen("tcp4", "0.0.0.0:8080")
	c.listen("tcp4", "127.0.0.1:9999")
	c.listen("tcp4", "10.240.0.2:7000")
	c.listen("tcp", "[::]:8081") // takes IPv4 too
	c.listen("tcp6", "[::]:8082")
	c.listen("tcp6", "[::1]:8083")
	c.listen("udp4", "0.0.0.0:5353")
	c.listen("udp4", "10.240.0.2:53")
	// What serves nobody: a connected pair, and a connected UDP socket.
	c.do(func() error {
		conn, err := net.Dial("tcp4", "127.0.0.1:9999")
		if err != nil {
			return err
		}
		c.t.Cleanup(func() { conn.Close() })
		udp, err := net.Dial("udp4", "127.0.0.1:5353")
		if err != nil {
			return err
		}
		c.t.Cleanup(func() { udp.Close() })
		return nil
	})
	ns, err := OpenNamespace(c.path())
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	sockets, err := ns.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sockets {
		got = append(got, s.Protocol+" "+netip.AddrPortFrom(s.Addr, s.Port).String())
		if s.Inode == 0 {
			t.Errorf("%v has no inode", s)
		}
	}
	slices.Sort(got)
	want := []string{"tcp 0.0.0.0:8080", "tcp 10.240.0.2:7000", "tcp 127.0.0.1:9999", "tcp [::1]:8083", "tcp [::]:8081",
		"udp 0.0.0.0:5353", "udp 10.240.0.2:53"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	home, err := OpenNamespace("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	outside, err := home.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range outside {
		if s.Port == 7000 && s.Addr == netip.MustParseAddr("10.240.0.2") {
			t.Error("a socket of the container was seen outside it")
		}
	}
	if _, err := OpenNamespace("/proc/self/fd/9999"); err == nil {
		t.Error("a namespace that does not exist was opened")
	}
}

// TestRealContainers runs the observer on namespaces of the kernel.
func TestRealContainers(t *testing.T) {
	c := newContainer(t)
	r := roster.New()
	o, err := New(Config{
		Roster: r, SettleTime: time.Hour,
		// The router's side: this machine has no way to 172.17.0.2.
		Dial: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = namespace.Do(c.ns, func() (err error) {
				conn, err = new(net.Dialer).DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	fds, goroutines := countFDs(t), runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	web, api := instance("web", "web"), instance("api", "api")
	web.NetnsPath, api.NetnsPath = c.path(), c.path()
	api.PrivateAddr = netip.MustParseAddr("10.240.0.2")
	closeLoopback := c.listen("tcp4", "127.0.0.1:8080")
	r.Put(web)
	obs := seen(t, r, "web", "the loopback listener", func(o platform.Observation) bool { return len(o.Listeners) == 1 })
	if obs.Ready {
		t.Fatal("ready although it listens on 127.0.0.1 only")
	}
	closeLoopback()
	c.listen("tcp4", "0.0.0.0:8080")
	seen(t, r, "web", "ready", ready)

	// The same sockets are not enough for a private type of another app that
	// has another address; its own are.
	api.PrivateAddr = netip.MustParseAddr("10.240.0.9")
	c2 := newContainer(t)
	api.NetnsPath = c2.path()
	c2.listen("tcp4", "172.17.0.2:3000")
	r.Put(api)
	if obs := seen(t, r, "api", "its listener", func(o platform.Observation) bool { return len(o.Listeners) == 1 }); obs.Ready {
		t.Fatal("ready although no member can reach it")
	}
	c2.listen("udp4", "0.0.0.0:8125")
	seen(t, r, "api", "ready", ready)

	r.Delete("web")
	r.Delete("api")
	// Two namespaces stay open in the test itself, one of them was before.
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+1 }, func() string { return "the watchers to end" })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	done <- nil
	eventually(t, func() bool { return countNetlink(t) == 0 }, func() string {
		return fmt.Sprintf("descriptors to be closed: %d, %d before", countFDs(t), fds)
	})
}

func countFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// countNetlink counts the netlink sockets of this process.
func countNetlink(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		var fd int
		fmt.Sscan(e.Name(), &fd)
		if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_NETLINK {
			n++
		}
	}
	return n
}

func FuzzParseDiag(f *testing.F) {
	b := make([]byte, sizeofDiagMessage+8)
	b[0] = unix.AF_INET6
	binary.BigEndian.PutUint16(b[4:], 8080)
	binary.NativeEndian.PutUint16(b[sizeofDiagMessage:], 5)
	binary.NativeEndian.PutUint16(b[sizeofDiagMessage+2:], attrV6Only)
	b[sizeofDiagMessage+4] = 1
	f.Add(b)
	f.Add(b[:sizeofDiagMessage])
	four := slices.Clone(b[:sizeofDiagMessage])
	four[0] = unix.AF_INET
	f.Add(four)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok, err := parseDiag(b, "tcp")
		if err != nil && ok || ok && (s.Port == 0 || !s.Addr.IsValid() || s.Addr.Is4In6()) {
			t.Errorf("%x became %v, %v, %v", b, s, ok, err)
		}
	})
}

func BenchmarkSockets(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root: looks into a network namespace")
	}
	ns, err := OpenNamespace("/proc/self/ns/net")
	if err != nil {
		b.Fatal(err)
	}
	defer ns.Close()
	for b.Loop() {
		if _, err := ns.Sockets(); err != nil {
			b.Fatal(err)
		}
	}
}
