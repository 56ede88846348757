package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"
)

// Addresses of the laboratory, from the ranges for documentation (RFC 5737).
const (
	ServerAddr   = "203.0.113.2"   // the machine under test
	InternetAddr = "203.0.113.1"   // its gateway and upstream resolver (port 53)
	EchoAddr     = "198.51.100.10" // a host on the internet (HTTP echo on port 80)
)

// Options of a lab. The zero value is useful.
type Options struct {
	// Records is what the upstream resolver knows, beside [DefaultRecords]: one
	// resource record each in zone-file form, such as
	// "shop.example. 60 IN A 203.0.113.2". "*.shop.example." matches every name
	// below. Records of a name replace the default ones of that name.
	Records []string
	// Detach makes a lab that outlives the process that makes it: Close leaves
	// it, Remove removes it. Its internet does not answer before a process
	// calls RunInternet, which owns the lab from then on. See [Up].
	Detach bool
}

// Lab is a server and its internet. Its methods may be called from any
// goroutine.
type Lab struct {
	name             string
	dir              string
	server, internet Namespace
	detached         bool
	owned            bool
	servers          *internetServers

	mu         sync.Mutex
	transports []*http.Transport
	closed     bool
}

// Names are short because paths of Unix sockets (108 bytes) are made from them.
var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// New removes the left-overs of dead owners, then makes a lab. The name is at
// most 32 lower-case letters, digits and dashes; a lab of that name whose owner
// lives is an error. Needs root. The caller must Close it.
func New(name string, opts Options) (*Lab, error) {
	if !nameForm.MatchString(name) {
		return nil, fmt.Errorf("the lab name %q is not 1 to 32 lower-case letters, digits and dashes", name)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("cannot make a lab: it needs root, to make network namespaces and mounts")
	}
	zone, err := newZone(opts.Records)
	if err != nil {
		return nil, err
	}
	owner, err := self()
	if err != nil {
		return nil, err
	}
	if homeErr != nil {
		return nil, fmt.Errorf("cannot tell which network namespace this is: %w", homeErr)
	}
	l := at(name, zone)
	l.owned, l.detached = true, opts.Detach
	if err := claim(l.dir, state{Name: name, Owner: owner, Home: home, Detached: opts.Detach, Records: opts.Records}); err != nil {
		return nil, err
	}
	if err := l.build(zone); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make lab %s: %w", name, err), l.undo())
	}
	return l, nil
}

// Open gives access to a lab that is there, made by this or another process.
// Close of it removes nothing.
func Open(name string) (*Lab, error) {
	if !nameForm.MatchString(name) {
		return nil, fmt.Errorf("the lab name %q is not 1 to 32 lower-case letters, digits and dashes", name)
	}
	s, err := readState(filepath.Join(root, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no lab %s; make it with: atoll-lab up %s", name, name)
	}
	if err != nil {
		return nil, err
	}
	if !s.Owner.alive() {
		return nil, fmt.Errorf("lab %s is a left-over: its owner (process %d) is dead; remove it with: atoll-lab down %s", name, s.Owner.PID, name)
	}
	zone, err := newZone(s.Records)
	if err != nil {
		return nil, err
	}
	l := at(name, zone)
	l.detached = s.Detached
	return l, nil
}

// Close stops the lab's internet and removes everything the lab made, and all
// processes in it. A detached or opened lab is left as it is.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	for _, t := range l.transports {
		t.CloseIdleConnections()
	}
	if !l.owned || l.detached {
		return nil
	}
	return l.undo()
}

// Name is the name the lab was made with.
func (l *Lab) Name() string { return l.name }

// Dir is a folder for whatever a test makes: state of daemons, sockets, bind
// mounts of namespaces. What is mounted below it is unmounted and removed at
// the end. It is below /run, which may be small and in memory.
func (l *Lab) Dir() string { return filepath.Join(l.dir, "work") }

// BPFFS is the path of a BPF file system of this lab alone.
func (l *Lab) BPFFS() string { return filepath.Join(l.dir, "bpf") }

// CgroupParent is the control group, as a path from the root of each
// hierarchy, below which everything in the lab puts its own. The lab does not
// make it; it removes it, with all processes inside.
func (l *Lab) CgroupParent() string { return cgroupParent(l.name) }

// Server is the network namespace of the machine under test.
func (l *Lab) Server() Namespace { return l.server }

// Internet is the network namespace of everybody else.
func (l *Lab) Internet() Namespace { return l.internet }

// Namespace finds a namespace by its name: "server" or "internet".
func (l *Lab) Namespace(name string) (Namespace, error) {
	switch name {
	case l.server.name:
		return l.server, nil
	case l.internet.name:
		return l.internet, nil
	}
	return Namespace{}, fmt.Errorf("a lab has no namespace %q, only server and internet", name)
}

// HTTPClient is a visitor from the internet: its sockets are made there. It has
// no time limit. Names in URLs are those of the upstream resolver's records.
func (l *Lab) HTTPClient() *http.Client {
	t := &http.Transport{DialContext: l.DialInternet}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transports = append(l.transports, t)
	return &http.Client{Transport: t}
}

// DialInternet connects from the internet; see [Namespace.Dial].
func (l *Lab) DialInternet(ctx context.Context, network, addr string) (net.Conn, error) {
	return l.internet.Dial(ctx, network, addr)
}

// DialServer connects from the server itself; see [Namespace.Dial].
func (l *Lab) DialServer(ctx context.Context, network, addr string) (net.Conn, error) {
	return l.server.Dial(ctx, network, addr)
}

// ListenServer listens on the server; see [Namespace.Listen].
func (l *Lab) ListenServer(network, addr string) (net.Listener, error) {
	return l.server.Listen(network, addr)
}

// ListenInternet listens on the internet; see [Namespace.Listen].
func (l *Lab) ListenInternet(network, addr string) (net.Listener, error) {
	return l.internet.Listen(network, addr)
}

// UpstreamQuestions is every question that the upstream resolver got, in
// order. A question is in it before its answer is sent.
func (l *Lab) UpstreamQuestions() ([]Question, error) {
	return readQuestions(l.questionsPath())
}

// Adopt makes a process, which need not be in a namespace of the lab, end
// with the lab.
func (l *Lab) Adopt(pid int) error {
	p, err := processOf(pid)
	if err != nil {
		return fmt.Errorf("cannot record process %d of lab %s: %w", pid, l.name, err)
	}
	return record(l.dir, p)
}

// at is the lab of that name, not made, not checked.
func at(name string, z *zone) *Lab {
	dir := filepath.Join(root, name)
	return &Lab{
		name:     name,
		dir:      dir,
		server:   Namespace{name: "server", path: filepath.Join(dir, "ns", "server"), zone: z},
		internet: Namespace{name: "internet", path: filepath.Join(dir, "ns", "internet"), zone: z},
	}
}

func (l *Lab) questionsPath() string { return filepath.Join(l.dir, "questions") }

// build makes everything in the folder that New claimed.
func (l *Lab) build(z *zone) error {
	for _, dir := range []string{l.Dir(), l.BPFFS(), filepath.Dir(l.server.path)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("atoll-lab", l.BPFFS(), "bpf", flags, "mode=0700"); err != nil {
		return fmt.Errorf("cannot mount a BPF file system on %s: %w", l.BPFFS(), err)
	}
	if err := connect(l.server, l.internet); err != nil {
		return err
	}
	if l.detached {
		return nil
	}
	var err error
	l.servers, err = startInternet(l, z)
	return err
}

// undo ends what build started and removes what it made.
func (l *Lab) undo() error {
	var stopped error
	if l.servers != nil {
		stopped = l.servers.stop()
	}
	if stopped != nil {
		slog.Warn("The lab's internet did not end well", "lab", l.name, "err", stopped)
	}
	return locked(func() error { return dismantle(l.dir) })
}
