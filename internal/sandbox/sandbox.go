package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
)

// Private is the private network of the node; a *privnet.Switch is one.
type Private interface {
	Attach(ctx context.Context, e privnet.Endpoint) error
	Detach(ctx context.Context, id string) error
	Set(ctx context.Context, endpoints []privnet.Endpoint) (privnet.Report, error)
	List(ctx context.Context) ([]privnet.Port, error)
	Compare(ctx context.Context, endpoints []privnet.Endpoint) (privnet.Difference, error)
}

// Outside is the outside network of the node; an *outside.Network is one.
type Outside interface {
	Attach(ctx context.Context, e outside.Endpoint) error
	Detach(ctx context.Context, id string) error
	Set(ctx context.Context, endpoints []outside.Endpoint) error
	Compare(ctx context.Context, endpoints []outside.Endpoint) ([]outside.Finding, error)
	Known(ctx context.Context) ([]outside.Endpoint, error)
	Identify(path string, e outside.Endpoint) bool
}

// Config is what a Manager needs.
type Config struct {
	// RunDir is where namespaces are bound (netns/) and addresses noted
	// (sandboxes/). It may be emptied by a reboot: sandboxes do not survive
	// one either.
	RunDir  string
	Private Private
	Outside Outside
	// OutsidePrefix is the range of eth0.
	OutsidePrefix netip.Prefix
	// Now is the clock of the address pools; nil means time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Request says what a container is to be connected to.
type Request struct {
	InstanceID string
	// Network is the private network; it matters when Private is true.
	Network platform.PrivateNetwork
	Private bool
	// Group is the number by which policies know the container, 0 none. It
	// alone may change while the sandbox exists.
	Group   uint32
	Outside bool
	// PublicPort is the TCP port on eth0 the edge may connect to, 0 none.
	PublicPort uint16
}

// Sandbox is a container's network namespace with its addresses; an address
// is invalid when the container has no such interface.
type Sandbox struct {
	Request
	NetnsPath   string
	PrivateAddr netip.Addr
	OutsideAddr netip.Addr
	// Held is set when the engine did not know the container any more and a
	// removal was refused. It is in the note: the refusal outlives restarts,
	// until the engine knows the container again.
	Held bool `json:",omitempty"`
}

// Manager makes and removes sandboxes. It is safe for concurrent use, but the
// caller makes one call at a time for the same id.
type Manager struct {
	cfg          Config
	privateAddrs *privnet.Pool
	outsideAddrs *outside.Pool

	// whole is held for writing by what looks at every sandbox, and for
	// reading by what makes or removes one.
	whole sync.RWMutex

	mu        sync.Mutex
	sandboxes map[string]Sandbox

	// refused and failures are what the last look logged, guarded by whole.
	refused  []Refusal
	failures []Finding
}

// New prepares the folders. Call Restore before anything else.
func New(cfg Config) (*Manager, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	m := &Manager{cfg: cfg, privateAddrs: privnet.NewPool(cfg.Now), outsideAddrs: outside.NewPool(cfg.OutsidePrefix, cfg.Now), sandboxes: map[string]Sandbox{}}
	for _, dir := range []string{m.notesDir(), m.netnsDir()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("cannot prepare the folder of sandboxes: %w", err)
		}
	}
	return m, nil
}

// Setup makes a sandbox and returns when it is usable. While it exists, a
// repeated call returns the same one, with the group that is asked for; asking
// for other connections then is an error. When a network has no room for one
// more, the error is its FullError and nothing was changed. The error's text is
// fit for the user.
func (m *Manager) Setup(ctx context.Context, r Request) (Sandbox, error) {
	m.whole.RLock()
	defer m.whole.RUnlock()
	m.mu.Lock()
	s, ok := m.sandboxes[r.InstanceID]
	m.mu.Unlock()
	if ok && s.regrouped(r.Group).Request != r {
		return Sandbox{}, fmt.Errorf("container %s is connected already, in another way than is asked now (%+v, asked %+v): remove its sandbox first", r.InstanceID, s.Request, r)
	}
	if ok {
		return m.regroup(ctx, s, r.Group)
	}
	if !filepath.IsLocal(r.InstanceID) || filepath.Base(r.InstanceID) != r.InstanceID {
		return Sandbox{}, fmt.Errorf("%q cannot be the id of a sandbox", r.InstanceID)
	}
	if err := m.checkKey(r); err != nil {
		return Sandbox{}, err
	}
	s, err := m.allocate(r)
	if err != nil {
		return Sandbox{}, err
	}
	if err := m.make(ctx, s); err != nil {
		return Sandbox{}, errors.Join(err, m.undo(context.WithoutCancel(ctx), s))
	}
	m.mu.Lock()
	m.sandboxes[s.InstanceID] = s
	m.mu.Unlock()
	return s, nil
}

// Teardown removes a sandbox; its addresses rest before others get them. An
// unknown id is no error.
func (m *Manager) Teardown(ctx context.Context, instanceID string) error {
	m.whole.RLock()
	defer m.whole.RUnlock()
	m.mu.Lock()
	s, ok := m.sandboxes[instanceID]
	m.mu.Unlock()
	if !ok {
		return nil
	}
	if err := m.remove(ctx, s); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.sandboxes, instanceID)
	m.mu.Unlock()
	return nil
}

// List returns the sandboxes there are, by id.
func (m *Manager) List() []Sandbox {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.list()
}

// Private

// regroup gives a sandbox another group. The note goes first: after a kill in
// between, Restore tells the switch what the note says.
func (m *Manager) regroup(ctx context.Context, s Sandbox, group uint32) (Sandbox, error) {
	if s.Group == group {
		return s, nil
	}
	s = s.regrouped(group)
	if err := m.writeNote(s); err != nil {
		return Sandbox{}, err
	}
	if s.Private {
		if err := m.cfg.Private.Attach(ctx, privateEndpoint(s)); err != nil {
			return Sandbox{}, err
		}
	}
	m.mu.Lock()
	m.sandboxes[s.InstanceID] = s
	m.mu.Unlock()
	return s, nil
}

func (s Sandbox) regrouped(group uint32) Sandbox {
	s.Group = group
	return s
}

// list is List for who holds a lock.
func (m *Manager) list() []Sandbox {
	out := make([]Sandbox, 0, len(m.sandboxes))
	for _, s := range m.sandboxes {
		out = append(out, s)
	}
	sortByID(out)
	return out
}

func sortByID(all []Sandbox) {
	slices.SortFunc(all, func(a, b Sandbox) int { return cmp.Compare(a.InstanceID, b.InstanceID) })
}

// checkKey refuses a key that containers of another network have: the two
// networks would be one.
func (m *Manager) checkKey(r Request) error {
	if !r.Private {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sandboxes {
		// One that only the kernel knew has no id; it is of the same database,
		// whose keys begin at a random one.
		if s.Private && s.Network.Key == r.Network.Key && s.Network.ID != "" && s.Network.ID != r.Network.ID {
			return fmt.Errorf("containers of another private network (%q) have the key %d of network %s: is the database another one than before? Restart the server, and see \"atoll server --help\" about --accept-removal", s.Network.ID, r.Network.Key, r.Network.ID)
		}
	}
	return nil
}

// allocate takes the addresses of a new sandbox.
func (m *Manager) allocate(r Request) (Sandbox, error) {
	s := Sandbox{Request: r, NetnsPath: m.netns(r.InstanceID)}
	var err error
	if r.Private {
		if s.PrivateAddr, err = m.privateAddrs.Allocate(r.Network.Key); err != nil {
			return s, err
		}
	}
	if r.Outside {
		if s.OutsideAddr, err = m.outsideAddrs.Allocate(); err != nil {
			m.giveBack(s)
			return s, err
		}
	}
	return s, nil
}

// giveBack is release for addresses that no container had.
func (m *Manager) giveBack(s Sandbox) {
	if s.PrivateAddr.IsValid() {
		m.privateAddrs.Return(s.Network.Key, s.PrivateAddr)
	}
	if s.OutsideAddr.IsValid() {
		m.outsideAddrs.Return(s.OutsideAddr)
	}
}

func (m *Manager) release(s Sandbox) {
	if s.PrivateAddr.IsValid() {
		m.privateAddrs.Release(s.Network.Key, s.PrivateAddr)
	}
	if s.OutsideAddr.IsValid() {
		m.outsideAddrs.Release(s.OutsideAddr)
	}
}

// make makes what a sandbox consists of, the note first.
func (m *Manager) make(ctx context.Context, s Sandbox) error {
	if err := m.writeNote(s); err != nil {
		return err
	}
	if err := makeNamespace(s.NetnsPath); err != nil {
		return err
	}
	if s.Outside {
		if err := m.cfg.Outside.Attach(ctx, outsideEndpoint(s)); err != nil {
			return err
		}
	}
	if s.Private {
		if err := m.cfg.Private.Attach(ctx, privateEndpoint(s)); err != nil {
			return err
		}
	}
	return nil
}

// remove removes whatever there is of a sandbox, the note last.
func (m *Manager) remove(ctx context.Context, s Sandbox) error {
	if err := m.disconnect(ctx, s); err != nil {
		return err
	}
	m.release(s)
	return m.removeNote(s.InstanceID)
}

// undo is remove for a sandbox that could not be made.
func (m *Manager) undo(ctx context.Context, s Sandbox) error {
	if err := m.disconnect(ctx, s); err != nil {
		return err
	}
	m.giveBack(s)
	return m.dropNote(s.InstanceID)
}

func (m *Manager) disconnect(ctx context.Context, s Sandbox) error {
	err := errors.Join(
		m.cfg.Private.Detach(ctx, s.InstanceID),
		m.cfg.Outside.Detach(ctx, s.InstanceID),
		removeNamespace(s.NetnsPath),
	)
	if err != nil {
		return fmt.Errorf("cannot remove the network of container %s: %w", s.InstanceID, err)
	}
	return nil
}

func outsideEndpoint(s Sandbox) outside.Endpoint {
	return outside.Endpoint{ID: s.InstanceID, Addr: s.OutsideAddr, ContainerNetns: s.NetnsPath, PublicPort: s.PublicPort}
}

func privateEndpoint(s Sandbox) privnet.Endpoint {
	return privnet.Endpoint{ID: s.InstanceID, Network: s.Network.Key, Addr: s.PrivateAddr, Group: s.Group, ContainerNetns: s.NetnsPath}
}
