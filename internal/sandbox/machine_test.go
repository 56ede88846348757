package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/namespace"
	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/sandbox"
)

var prefix = netip.MustParsePrefix("172.17.0.0/16")

// machine is a node in a lab: both networks and the sandboxes.
type machine struct {
	t       testing.TB
	lab     *lab.Lab
	outside *outside.Network
	private *privnet.Switch
	manager *sandbox.Manager
	log     *logged
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	lab.NeedRoot(t)
	m := &machine{t: t, lab: lab.Start(t, lab.Options{})}
	m.open()
	m.restore()
	return m
}

// open opens everything as a server's start does; what is there is taken
// over.
func (m *machine) open() {
	m.t.Helper()
	opened, err := openAt(m.lab.Dir(), m.lab.BPFFS(), func(f func() error) error { return lab.Do(m.lab.Server(), f) })
	if err != nil {
		m.t.Fatal(err)
	}
	m.private, m.outside, m.manager, m.log = opened.private, opened.outside, opened.manager, opened.log
	m.t.Cleanup(func() { opened.private.Close(); opened.outside.Close() })
}

// openAt opens everything in a folder; on runs a function on the node.
func openAt(dir, bpffs string, on func(func() error) error) (m machine, err error) {
	m.log = &logged{}
	log := slog.New(slog.NewTextHandler(m.log, nil))
	err = on(func() error {
		if err := os.MkdirAll(filepath.Join(dir, "netns"), 0o755); err != nil {
			return err
		}
		if m.private, err = privnet.Open(privnet.Config{Netns: filepath.Join(dir, "netns", "switch"), BPFFS: bpffs, Log: log}); err != nil {
			return err
		}
		if m.outside, err = outside.Open(outside.Config{Prefix: prefix, Public: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:80")}, Log: log}); err != nil {
			return errors.Join(err, m.private.Close())
		}
		m.manager, err = sandbox.New(sandbox.Config{RunDir: dir, Private: m.private, Outside: m.outside, OutsidePrefix: prefix, Log: log})
		return err
	})
	return m, err
}

func (m *machine) restore(wanted ...string) {
	m.t.Helper()
	m.on(func() error { return m.manager.Restore(m.t.Context(), members(wanted...), false) })
}

// members are containers of which nothing but their id is known.
func members(ids ...string) (all []sandbox.Sandbox) {
	for _, id := range ids {
		all = append(all, sandbox.Sandbox{Request: sandbox.Request{InstanceID: id}})
	}
	return all
}

// on runs f on the node.
func (m *machine) on(f func() error) {
	m.t.Helper()
	if err := lab.Do(m.lab.Server(), f); err != nil {
		m.t.Fatal(err)
	}
}

// container makes a sandbox in private network key.
func (m *machine) container(id string, key uint32, publicPort uint16) box {
	m.t.Helper()
	b := box{machine: m}
	m.on(func() (err error) {
		b.Sandbox, err = m.manager.Setup(m.t.Context(), request(id, key, publicPort))
		return err
	})
	return b
}

// nft changes the node's rules, to show what happens without one.
func (m *machine) nft(command string) { m.run(m.lab.Server().Path(), "nft '"+command+"'") }

// drops returns how many packets were dropped for a reason.
func (m *machine) drops(reason string) (n uint64) {
	m.t.Helper()
	m.on(func() error {
		all, err := m.outside.Drops(m.t.Context())
		n = all[reason]
		return err
	})
	return n
}

func (m *machine) run(netns, script string) string {
	m.t.Helper()
	out, err := exec.Command("nsenter", "--net="+netns, "sh", "-ec", script).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// box is a container without a process.
type box struct {
	sandbox.Sandbox
	*machine
}

func (b box) sh(script string) string { b.t.Helper(); return b.run(b.NetnsPath, script) }

// in makes a socket in a namespace. The path may be of a lab or a box.
func in(t testing.TB, path string, f func() error) error {
	t.Helper()
	return namespace.DoAt(path, f)
}

// listen answers TCP connections in a namespace with text.
func (m *machine) listen(netns, addr, text string) {
	m.t.Helper()
	var l net.Listener
	err := in(m.t, netns, func() (err error) {
		l, err = net.Listen("tcp4", addr)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { l.Close() })
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

// patience is how long a connection that should fail is waited for. The lab's
// round trip is far below a millisecond and a SYN is repeated after 1 s.
const patience = 400 * time.Millisecond

// ask connects from a namespace and returns what the other side says, "" when
// no connection comes about. device binds the socket to an interface.
func (m *machine) ask(netns, device, addr string) string {
	m.t.Helper()
	limit := patience
	var answer string
	err := in(m.t, netns, func() error {
		d := net.Dialer{Timeout: limit, Control: func(_, _ string, c syscall.RawConn) error {
			if device == "" {
				return nil
			}
			var bindErr error
			err := c.Control(func(fd uintptr) { bindErr = unix.BindToDevice(int(fd), device) })
			if err != nil {
				return err
			}
			return bindErr
		}}
		c, err := d.DialContext(context.Background(), "tcp4", addr)
		if err != nil {
			return nil
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		b, err := io.ReadAll(c)
		answer = string(b)
		return err
	})
	if err != nil {
		m.t.Fatalf("asking %s: %v", addr, err)
	}
	return answer
}

// wantAnswer and wantSilence are the two outcomes of ask. An answer is tried
// again for a while: the machine may be busy.
func (m *machine) wantAnswer(netns, device, addr, text string) {
	m.t.Helper()
	lab.WaitFor(m.t, 10*time.Second, "an answer of "+addr, func() (bool, error) {
		got := m.ask(netns, device, addr)
		if got != "" && got != text {
			return false, fmt.Errorf("%s answered %q, want %q", addr, got, text)
		}
		return got == text, nil
	})
}

func (m *machine) wantSilence(netns, device, addr string) {
	m.t.Helper()
	if got := m.ask(netns, device, addr); got != "" {
		m.t.Errorf("%s answered %q, nothing should come through", addr, got)
	}
}

// interfaces returns `ip -brief -4 addr` without loopback. The kernel says that
// a link is up a while after it is, when it has time.
func (b box) interfaces() string {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		out := b.links()
		if !strings.Contains(out, " DOWN ") || time.Now().After(end) {
			return out
		}
	}
}

func (b box) links() string {
	var keep []string
	for line := range strings.Lines(b.sh("ip -brief -4 addr")) {
		if !strings.HasPrefix(line, "lo ") {
			keep = append(keep, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(keep, "\n")
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
