package outside_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/outside"
)

var prefix = netip.MustParsePrefix("172.17.0.0/16")

// patience is how long something that should not come is waited for. The
// lab's round trip is far below a millisecond.
const patience = 300 * time.Millisecond

// rig is an outside network in a lab, with containers that are nothing but a
// network namespace.
type rig struct {
	t   *testing.T
	lab *lab.Lab
	net *outside.Network
	log bytes.Buffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, lab: lab.Start(t, lab.Options{})}
	if err := os.MkdirAll(r.boxes(), 0o755); err != nil {
		t.Fatal(err)
	}
	r.net = r.open(outside.Config{})
	return r
}

func (r *rig) boxes() string { return filepath.Join(r.lab.Dir(), "boxes") }
func (r *rig) node() string  { return r.lab.Server().Path() }

// tryOpen opens a network on the node; the lab's prefix unless cfg has one.
func (r *rig) tryOpen(cfg outside.Config) (n *outside.Network, err error) {
	if !cfg.Prefix.IsValid() {
		cfg.Prefix = prefix
	}
	cfg.Log = slog.New(slog.NewTextHandler(&r.log, nil))
	err = lab.Do(r.lab.Server(), func() (err error) {
		n, err = outside.Open(cfg)
		return err
	})
	return n, err
}

func (r *rig) open(cfg outside.Config) *outside.Network {
	r.t.Helper()
	n, err := r.tryOpen(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { n.Close() })
	return n
}

// endpoint makes a container's namespace, not attached yet.
func (r *rig) endpoint(id, addr string, publicPort uint16) outside.Endpoint {
	r.t.Helper()
	path := filepath.Join(r.boxes(), id)
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		r.t.Fatal(err)
	}
	// On a thread of the node, which returns; the new namespace is bound.
	if err := lab.Do(r.lab.Server(), func() error {
		home, err := netns.Get()
		if err != nil {
			return err
		}
		defer home.Close()
		made, err := netns.New()
		if err != nil {
			return err
		}
		defer made.Close()
		bind := unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
		if err := netns.Set(home); err != nil {
			return err
		}
		return bind
	}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			r.t.Errorf("cannot unmount %s: %v", path, err)
		}
	})
	return outside.Endpoint{ID: id, Addr: netip.MustParseAddr(addr), ContainerNetns: path, PublicPort: publicPort}
}

// attach makes a container and connects it.
func (r *rig) attach(id, addr string, publicPort uint16) outside.Endpoint {
	r.t.Helper()
	e := r.endpoint(id, addr, publicPort)
	if err := r.net.Attach(r.t.Context(), e); err != nil {
		r.t.Fatal(err)
	}
	return e
}

// in runs f in a namespace.
func (r *rig) in(path string, f func() error) {
	r.t.Helper()
	done := make(chan error, 1)
	go func() {
		target, err := netns.GetFromPath(path)
		if err != nil {
			done <- err
			return
		}
		defer target.Close()
		done <- lab.Do(r.lab.Server(), func() error {
			home, err := netns.Get()
			if err != nil {
				return err
			}
			defer home.Close()
			if err := netns.Set(target); err != nil {
				return err
			}
			err = f()
			if back := netns.Set(home); back != nil {
				return back
			}
			return err
		})
	}()
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) run(path, script string) string {
	r.t.Helper()
	out, err := exec.Command("nsenter", "--net="+path, "sh", "-ec", script).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// flush empties chains of our tables, to show what they are for.
func (r *rig) flush(chains ...string) {
	r.t.Helper()
	for _, c := range chains {
		family, name, _ := strings.Cut(c, " ")
		r.run(r.node(), "nft flush chain "+family+" atoll_outside "+name)
	}
}

// listen answers connections in a namespace with text.
func (r *rig) listen(path, addr, text string) {
	r.t.Helper()
	var l net.Listener
	r.in(path, func() (err error) {
		l, err = net.Listen("tcp4", addr)
		return err
	})
	r.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, text)
			c.Close()
		}
	}()
}

// ask connects from a namespace; "" when no connection comes about.
func (r *rig) ask(path, addr string) (answer string) {
	r.t.Helper()
	r.in(path, func() error {
		c, err := (&net.Dialer{Timeout: patience}).DialContext(context.Background(), "tcp4", addr)
		if err != nil {
			return nil
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		b, err := io.ReadAll(c)
		answer = string(b)
		return err
	})
	return answer
}

func (r *rig) wantAnswer(path, addr, text string) {
	r.t.Helper()
	lab.WaitFor(r.t, 10*time.Second, "an answer of "+addr, func() (bool, error) { return r.ask(path, addr) == text, nil })
}

func (r *rig) wantSilence(path, addr string) {
	r.t.Helper()
	if got := r.ask(path, addr); got != "" {
		r.t.Errorf("%s answered %q, nothing should come through", addr, got)
	}
}

// packets opens a UDP socket on the node.
func (r *rig) packets(addr string) net.PacketConn {
	r.t.Helper()
	var c net.PacketConn
	r.in(r.node(), func() (err error) {
		c, err = net.ListenPacket("udp4", addr)
		return err
	})
	r.t.Cleanup(func() { c.Close() })
	return c
}

// heard returns who sent the next packet and what is in it, "" when none
// comes within the limit.
func heard(c net.PacketConn, limit time.Duration) (from, text string) {
	c.SetReadDeadline(time.Now().Add(limit))
	b := make([]byte, 2000)
	n, addr, err := c.ReadFrom(b)
	if err != nil {
		return "", ""
	}
	host, _, _ := net.SplitHostPort(addr.String())
	return host, string(b[:n])
}

func (r *rig) drops() map[string]uint64 {
	r.t.Helper()
	all, err := r.net.Drops(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}
