package privnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// patience is how long a test waits for something that must happen.
const patience = 10 * time.Second

// quiet is how long a test listens for something that must not.
const quiet = 200 * time.Millisecond

// newConfig returns the Config of a switch of the test's own, which is gone
// when the test ends.
func newConfig(t testing.TB) Config {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces and loads BPF programs")
	}
	dir := t.TempDir()
	cfg := Config{Netns: filepath.Join(dir, "netns", "switch"), BPFFS: filepath.Join(dir, "bpf")}
	t.Cleanup(func() {
		if err := Destroy(cfg); err != nil {
			t.Errorf("cannot destroy the switch: %v", err)
		}
	})
	return cfg
}

func open(t testing.TB, cfg Config) *Switch {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// box is a network namespace in the place of a container.
type box struct {
	t     testing.TB
	path  string
	addr  netip.Addr
	group uint32

	tap   int // an AF_PACKET socket at pn0, 0 if there is none yet
	total uint64
}

func newBox(t testing.TB) *box {
	t.Helper()
	b := &box{t: t, path: filepath.Join(t.TempDir(), "netns")}
	err := namespace.Make(b.path, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatalf("cannot make a network namespace: %v", err)
	}
	t.Cleanup(func() { b.remove() })
	return b
}

// remove ends the namespace, if nothing else is in it.
func (b *box) remove() {
	_ = unix.Unmount(b.path, unix.MNT_DETACH)
}

// try runs f in the namespace and returns its error.
func (b *box) try(f func() error) error { return namespace.DoAt(b.path, f) }

// do runs f in the namespace; an error ends the test.
func (b *box) do(f func() error) {
	b.t.Helper()
	if err := b.try(f); err != nil {
		b.t.Fatal(err)
	}
}

// member attaches a new container to the switch.
func member(t testing.TB, s *Switch, network uint32, addr string) *box {
	t.Helper()
	b := newBox(t)
	b.addr = netip.MustParseAddr(addr)
	if err := s.Attach(context.Background(), b.endpoint(network)); err != nil {
		t.Fatal(err)
	}
	return b
}

// grouped attaches a new container of a group.
func grouped(t testing.TB, s *Switch, network uint32, addr string, group uint32) *box {
	t.Helper()
	b := newBox(t)
	b.addr, b.group = netip.MustParseAddr(addr), group
	if err := s.Attach(context.Background(), b.endpoint(network)); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *box) endpoint(network uint32) Endpoint {
	return Endpoint{ID: fmt.Sprintf("network-%d/%s", network, b.addr), Network: network, Addr: b.addr, Group: b.group, ContainerNetns: b.path}
}

// echo makes the box send back what comes to a port, over TCP and UDP.
func (b *box) echo(port int) {
	b.t.Helper()
	b.do(func() error {
		at := fmt.Sprintf("0.0.0.0:%d", port)
		l, err := net.Listen("tcp4", at)
		if err != nil {
			return err
		}
		b.t.Cleanup(func() { l.Close() })
		u, err := net.ListenPacket("udp4", at)
		if err != nil {
			return err
		}
		b.t.Cleanup(func() { u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				b.t.Cleanup(func() { c.Close() })
				go io.Copy(c, c)
			}
		}()
		go func() {
			buf := make([]byte, 65536)
			for {
				n, from, err := u.ReadFrom(buf)
				if err != nil {
					return
				}
				u.WriteTo(buf[:n], from) //nolint:errcheck // the test waits for it
			}
		}()
		return nil
	})
}

// dial opens a socket to a port of another; from says its own port, 0 any.
func (b *box) dial(network string, from int, to netip.Addr, port int, within time.Duration) (conn net.Conn, err error) {
	d := net.Dialer{Timeout: within}
	if from != 0 && network == "udp4" {
		d.LocalAddr = &net.UDPAddr{Port: from}
	} else if from != 0 {
		d.LocalAddr = &net.TCPAddr{Port: from}
	}
	err = b.try(func() error {
		conn, err = d.Dial(network, netip.AddrPortFrom(to, uint16(port)).String())
		return err
	})
	if err == nil {
		b.t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// exchange sends a word over an echo's connection and waits for it to come
// back.
func exchange(c net.Conn, word string, within time.Duration) error {
	c.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(c, word); err != nil {
		return err
	}
	back := make([]byte, len(word))
	if _, err := io.ReadFull(c, back); err != nil {
		return err
	}
	if string(back) != word {
		return fmt.Errorf("sent %.20q, got %.20q", word, back)
	}
	return nil
}

func setPolicies(t testing.TB, s *Switch, policies ...Policy) {
	t.Helper()
	if err := s.SetPolicies(context.Background(), policies); err != nil {
		t.Fatal(err)
	}
}

func flows(t testing.TB, s *Switch) []Flow {
	t.Helper()
	all, err := s.Flows(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// flow returns the one flow to a port, nothing if there is none.
func flow(t testing.TB, s *Switch, protocol uint8, port uint16, v Verdict) Flow {
	t.Helper()
	var found []Flow
	for _, f := range flows(t, s) {
		if f.Protocol == protocol && f.Port == port && f.Verdict == v {
			found = append(found, f)
		}
	}
	if len(found) > 1 {
		t.Errorf("more than one flow: %+v", found)
	}
	if len(found) == 0 {
		return Flow{}
	}
	return found[0]
}

func compare(t testing.TB, s *Switch, endpoints ...Endpoint) Difference {
	t.Helper()
	d, err := s.Compare(context.Background(), endpoints)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// answer makes the box answer TCP connections to port 7000 with a word.
func (b *box) answer(word string) {
	b.t.Helper()
	b.do(func() error {
		l, err := net.Listen("tcp4", "0.0.0.0:7000")
		if err != nil {
			return err
		}
		b.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, word)
				c.Close()
			}
		}()
		return nil
	})
}

// ask connects to port 7000 of an address and returns what is said there.
func (b *box) ask(to netip.Addr, within time.Duration) (word string, err error) {
	err = b.try(func() error {
		c, err := net.DialTimeout("tcp4", net.JoinHostPort(to.String(), "7000"), within)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(within))
		buf := make([]byte, 64)
		n, err := c.Read(buf)
		word = string(buf[:n])
		return err
	})
	return word, err
}

// ping sends an ICMP echo request with so many bytes and waits for the answer.
func (b *box) ping(to netip.Addr, size int, within time.Duration) error {
	return b.try(func() error {
		c, err := net.DialIP("ip4:icmp", nil, &net.IPAddr{IP: to.AsSlice()})
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(within))
		request := make([]byte, 8+size)
		request[0] = 8
		binary.BigEndian.PutUint16(request[4:], uint16(os.Getpid()))
		binary.BigEndian.PutUint16(request[2:], ^sum16(request))
		if _, err := c.Write(request); err != nil {
			return err
		}
		reply := make([]byte, 65536)
		for {
			n, _, err := c.ReadFrom(reply)
			if err != nil {
				return err
			}
			if n == len(request) && reply[0] == 0 {
				return nil
			}
		}
	})
}

func sum16(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// raw sends a crafted frame out of pn0, n times.
func (b *box) raw(frame []byte, n int) {
	b.t.Helper()
	b.do(func() error {
		link, err := netlink.LinkByName(Interface)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for range n {
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}); err != nil {
				return fmt.Errorf("cannot send a frame of %d bytes: %w", len(frame), err)
			}
		}
		return nil
	})
}

// counters returns what the kernel counts at pn0.
func (b *box) counters() netlink.LinkStatistics {
	b.t.Helper()
	var stats netlink.LinkStatistics
	b.do(func() error {
		link, err := netlink.LinkByName(Interface)
		if err == nil {
			stats = *link.Attrs().Statistics
		}
		return err
	})
	return stats
}

// heard returns how many frames pn0 has received since it was first asked.
// The interface's own counter would not do: before Linux 6.8 it does not have
// what was redirected to it.
func (b *box) heard() uint64 {
	b.t.Helper()
	if b.tap == 0 {
		b.do(b.listen)
		b.t.Cleanup(func() { unix.Close(b.tap) })
	}
	stats, err := unix.GetsockoptTpacketStats(b.tap, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		b.t.Fatal(err)
	}
	b.total += uint64(stats.Packets) // those that did not fit into the socket too
	return b.total
}

func (b *box) listen() error {
	link, err := netlink.LinkByName(Interface)
	if err != nil {
		return err
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	if b.tap, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(b.tap, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return err
	}
	return unix.Bind(b.tap, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Attrs().Index})
}

// has returns the addresses and routes of pn0.
func (b *box) has(t testing.TB) (addrs, routes []string) {
	t.Helper()
	b.do(func() error {
		link, err := netlink.LinkByName(Interface)
		if err != nil {
			return err
		}
		as, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range as {
			addrs = append(addrs, a.IPNet.String())
		}
		rs, err := netlink.RouteList(link, netlink.FAMILY_V4)
		for _, r := range rs {
			routes = append(routes, fmt.Sprintf("%s scope %s src %s", r.Dst, r.Scope, r.Src))
		}
		return err
	})
	return addrs, routes
}

func drops(t testing.TB, s *Switch) map[Reason]uint64 {
	t.Helper()
	d, err := s.Drops(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func list(t testing.TB, s *Switch) []Port {
	t.Helper()
	ports, err := s.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

func set(t testing.TB, s *Switch, endpoints ...Endpoint) Report {
	t.Helper()
	report, err := s.Set(context.Background(), endpoints)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// until waits for a condition.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// within runs f in the switch namespace.
func (s *Switch) within(t testing.TB, f func() error) {
	t.Helper()
	if err := namespace.Do(s.ns, f); err != nil {
		t.Fatal(err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() || errors.Is(err, unix.EHOSTUNREACH)
}

func sorted(s []string) string {
	s = slices.Clone(s)
	slices.Sort(s)
	return strings.Join(s, ", ")
}
