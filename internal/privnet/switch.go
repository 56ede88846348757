package privnet

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// DefaultMaxMembers is how many endpoints a node can have, over all networks,
// unless Config says otherwise.
const DefaultMaxMembers = 16384

// Config says where a switch lives. Two switches with different paths are
// independent of each other.
type Config struct {
	// Netns is the path at which the switch namespace is bound, such as
	// /run/atoll/netns/switch. Made when missing.
	Netns string
	// BPFFS is the folder for pins, such as /run/atoll/bpf. A BPF file
	// system is mounted on it unless it is on one.
	BPFFS string
	// MaxMembers is how many endpoints fit on the node; 0 means
	// DefaultMaxMembers. It may change between starts. Memory is used for
	// the endpoints there are, not for this number.
	MaxMembers int
	// Bare leaves out policies and flows. It is there to measure what they
	// cost; a network with policies is open while it is set.
	Bare bool
	// Log gets a line for each thing changed or repaired; nil means none.
	Log *slog.Logger
}

// Switch is the private network of a node. Its methods may be called
// concurrently. One process owns a switch at a time; the caller sees to that.
type Switch struct {
	cfg     Config
	log     *slog.Logger
	ns      netns.NsHandle
	links   *netlink.Handle // in the switch namespace
	maps    *tables
	program *ebpf.Program
	id      ebpf.ProgramID

	// whole is held for writing by what looks at every endpoint, and for
	// reading by what changes one; perID keeps those of one id in line.
	whole sync.RWMutex
	perID [64]sync.Mutex
	seed  maphash.Seed

	// claims guards members: that an address is taken and by whom.
	claims sync.Mutex
	// policing guards policies and rules, in the tables and here: policies is
	// what they should say, nil until SetPolicies was called; retired is when
	// versions of rules that may still be there were put out of force.
	policing sync.Mutex
	policies map[uint32]Policy
	retired  map[uint32]time.Time
	version  uint32 // of the rules made last
	// index is the host end of each endpoint we know, also after its link
	// vanished with the container's namespace.
	index sync.Map // id string -> ifindex uint32
}

// Open opens the switch, making what is missing: the namespace, the tables,
// the program. Endpoints that exist go on without losing a packet, and run
// this version's program when it returns, but for one that refuses it: that is
// logged and left to Set. Close the switch when done.
//
// The error is ErrIncompatible if the tables are of a version that this one
// cannot take over; nothing is changed then.
func Open(cfg Config) (_ *Switch, err error) {
	s, err := newSwitch(&cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("cannot lift the limit on locked memory, which kernels before 5.11 need: %w", err)
	}
	if err := mountBPFFS(cfg.BPFFS); err != nil {
		return nil, err
	}
	pins := pinDir(cfg.BPFFS)
	if err := os.MkdirAll(pins, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder for pins: %w", err)
	}
	if err := s.load(pins, cfg); err != nil {
		return nil, err
	}
	lost := namespaceLost(cfg.Netns, pins)
	if s.ns, err = openNamespace(cfg.Netns); err != nil {
		return nil, err
	}
	if lost {
		s.log.Warn("Repaired the switch", "where", cfg.Netns, "what", "the switch namespace was gone with every interface in it; a new one was made")
	}
	if s.links, err = handleAt(s.ns); err != nil {
		return nil, err
	}
	if err := s.takeOver(); err != nil {
		return nil, err
	}
	if err := s.maps.pin(pins); err != nil {
		return nil, err
	}
	return s, nil
}

// Close lets go of the switch. The network stays as it is.
func (s *Switch) Close() error {
	if s.links != nil {
		s.links.Close()
	}
	if s.program != nil {
		s.program.Close()
	}
	if s.maps != nil {
		s.maps.close()
	}
	if s.ns.IsOpen() {
		return s.ns.Close()
	}
	return nil
}

// Destroy removes the switch of this Config and everything in it: every
// endpoint, the namespace, the pins, and the BPF file system if Open mounted
// it. It needs no open switch, and works on what a killed process left.
// Containers keep running, without a private interface.
func Destroy(cfg Config) error {
	if _, err := newSwitch(&cfg); err != nil {
		return err
	}
	err := removeLinks(cfg.Netns)
	return errors.Join(err,
		removeNamespace(cfg.Netns),
		os.RemoveAll(pinDir(cfg.BPFFS)),
		unmountBPFFS(cfg.BPFFS))
}

func newSwitch(cfg *Config) (*Switch, error) {
	if !filepath.IsAbs(cfg.Netns) || !filepath.IsAbs(cfg.BPFFS) {
		return nil, fmt.Errorf("the switch namespace %q and the folder for pins %q must be absolute paths", cfg.Netns, cfg.BPFFS)
	}
	if cfg.MaxMembers == 0 {
		cfg.MaxMembers = DefaultMaxMembers
	}
	if cfg.MaxMembers < 1 || cfg.MaxMembers > 1<<20 {
		return nil, fmt.Errorf("MaxMembers is %d, must be between 1 and %d", cfg.MaxMembers, 1<<20)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Switch{cfg: *cfg, log: cfg.Log, ns: netns.None(), seed: maphash.MakeSeed(), retired: make(map[uint32]time.Time)}, nil
}

// load opens the tables and loads the program with them.
func (s *Switch) load(pins string, cfg Config) error {
	spec, err := bpf.LoadSwitch()
	if err != nil {
		return fmt.Errorf("cannot read the switch's program: %w", err)
	}
	for _, name := range []string{bpf.SwitchMapPnPorts, bpf.SwitchMapPnMembers} {
		spec.Maps[name].MaxEntries = uint32(cfg.MaxMembers)
	}
	if spec.Maps[bpf.SwitchMapPnFlows].MaxEntries, err = maxFlows(); err != nil {
		return err
	}
	if cfg.Bare {
		if err := spec.Variables[bpf.SwitchVarBare].Set(uint32(1)); err != nil {
			return fmt.Errorf("cannot load the switch's program without policies and flows: %w", err)
		}
	}
	if s.maps, err = openTables(pins, spec.Maps, tablesHeld(cfg.Netns, spec.Maps), s.log); err != nil {
		return err
	}
	tables := make(map[string]*ebpf.Map)
	for name, m := range s.maps.all() {
		tables[name] = *m
	}
	programs := new(bpf.SwitchPrograms)
	err = spec.LoadAndAssign(programs, &ebpf.CollectionOptions{MapReplacements: tables})
	if err != nil {
		return fmt.Errorf("cannot load the switch's program (Linux %s or newer and root are needed; `atoll doctor` says what is missing): %w", minKernel, err)
	}
	s.program = programs.SwitchFrame
	info, err := s.program.Info()
	if err != nil {
		return fmt.Errorf("cannot read back the switch's program: %w", err)
	}
	var known bool
	if s.id, known = info.ID(); !known {
		return errors.New("the kernel gave the switch's program no id")
	}
	return nil
}

// takeOver makes the endpoints that exist run this program, and forgets table
// entries whose interface is gone: in a new namespace its number is given
// again.
func (s *Switch) takeOver() error {
	links, err := s.hostEnds()
	if err != nil {
		return err
	}
	if _, err := s.prune(links); err != nil {
		return err
	}
	for _, link := range links {
		id := link.Attrs().Alias
		if id == "" {
			continue // half made; Set completes or removes it
		}
		index := uint32(link.Attrs().Index)
		s.index.Store(id, index)
		if s.maps.ports.Lookup(index, new(bpf.SwitchPort)) != nil {
			continue // somebody removed the pins: its old program still works, until Set
		}
		old, err := s.lacksFilter(link)
		if old && err == nil {
			err = attachFilter(s.links, link, s.program)
		}
		if err != nil && s.exists(link) {
			s.log.Error("Cannot renew the program of an endpoint; the next Set tries again", "endpoint", id, "error", err)
		}
	}
	return nil
}

// one locks what belongs to one endpoint; call the result to unlock.
func (s *Switch) one(id string) (unlock func()) {
	mu := &s.perID[maphash.String(s.seed, id)%uint64(len(s.perID))]
	s.whole.RLock()
	mu.Lock()
	return func() {
		mu.Unlock()
		s.whole.RUnlock()
	}
}

func pinDir(bpffs string) string { return filepath.Join(bpffs, "privnet") }
