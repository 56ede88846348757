package privnet

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// ErrIncompatible says that the pinned tables were made by another version of
// the switch whose entries this one cannot read.
var ErrIncompatible = errors.New("the pinned tables of the private network are of another version")

// tables are the switch's maps. They are pinned: they, and the programs that
// hold them, outlive this process.
type tables struct {
	ports    *ebpf.Map // ifindex of a host end -> who sits behind it
	members  *ebpf.Map // network, address -> host end
	drops    *ebpf.Map // reason -> count
	policies *ebpf.Map // network -> mode and the version of its rules
	rules    *ebpf.Map // version, from, to, protocol, port

	// These forget the least used entry, or count. The program alone writes
	// them; losing one loses no promise for long.
	connections *ebpf.Map // who opened which TCP connection
	opened      *ebpf.Map // who began which other conversation
	fragments   *ebpf.Map // what a first fragment said
	flows       *ebpf.Map // who talked to whom
	dropped     *ebpf.Map // what was dropped between whom
	pace        *ebpf.Map // what each port added to these lately
}

// all returns where each map is kept, by its name in the program.
func (t *tables) all() map[string]**ebpf.Map {
	return map[string]**ebpf.Map{
		bpf.SwitchMapPnPorts:       &t.ports,
		bpf.SwitchMapPnMembers:     &t.members,
		bpf.SwitchMapPnDrops:       &t.drops,
		bpf.SwitchMapPnPolicies:    &t.policies,
		bpf.SwitchMapPnRules:       &t.rules,
		bpf.SwitchMapPnConnections: &t.connections,
		bpf.SwitchMapPnOpened:      &t.opened,
		bpf.SwitchMapPnFragments:   &t.fragments,
		bpf.SwitchMapPnFlows:       &t.flows,
		bpf.SwitchMapPnDropped:     &t.dropped,
		bpf.SwitchMapPnPace:        &t.pace,
	}
}

// openTables opens the pinned maps in dir, or else those that the ports use,
// and makes those that are missing. A map of another size is copied into a new
// one, which is not pinned yet: the programs in use still hold the old one.
// Call pin when they no longer do.
func openTables(dir string, specs map[string]*ebpf.MapSpec, held heldTables, log *slog.Logger) (_ *tables, err error) {
	t := &tables{}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	for name, to := range t.all() {
		if *to, err = openTable(filepath.Join(dir, name), specs[name], held, log); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func openTable(path string, spec *ebpf.MapSpec, held heldTables, log *slog.Logger) (*ebpf.Map, error) {
	old, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		if old, err = held.open(spec); err == nil && old == nil {
			return newTable(spec)
		}
		if err == nil {
			log.Warn("Repaired the switch", "where", path, "what", pinLost)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the table of %s: %w", path, err)
	}
	if alike(old, spec) && old.MaxEntries() == spec.MaxEntries && old.Flags() == spec.Flags {
		return old, nil
	}
	defer old.Close()
	if forgets(spec) {
		return newTable(spec)
	}
	if !alike(old, spec) {
		return nil, fmt.Errorf("%w: %s is a %v of %d to %d bytes, want a %v of %d to %d. "+
			"Start the version that made it; or stop every container, remove the folder of pins and start again",
			ErrIncompatible, path, old.Type(), old.KeySize(), old.ValueSize(), spec.Type, spec.KeySize, spec.ValueSize)
	}
	m, err := migrate(old, spec)
	if err != nil {
		return nil, fmt.Errorf("cannot change the size of the table %s from %d to %d entries: %w",
			path, old.MaxEntries(), spec.MaxEntries, err)
	}
	return m, nil
}

// alike tells whether entries of a table mean the same as in another.
func alike(m *ebpf.Map, spec *ebpf.MapSpec) bool {
	return m.Type() == spec.Type && m.KeySize() == spec.KeySize && m.ValueSize() == spec.ValueSize
}

// forgets tells whether a table may begin empty: it is a cache, or counts for
// the next second.
func forgets(spec *ebpf.MapSpec) bool {
	return spec.Type == ebpf.LRUHash || spec.Type == ebpf.LRUCPUHash || spec.Type == ebpf.Array
}

func newTable(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("cannot make the table %s: %w", spec.Name, err)
	}
	return m, nil
}

// migrate copies a map into a new one. Nobody adds entries meanwhile: that is
// done by the owner of the switch, which is being opened.
func migrate(old *ebpf.Map, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := newTable(spec)
	if err != nil {
		return nil, err
	}
	if old.Type() == ebpf.PerCPUArray { // keyed by position, counters may be lost
		return m, nil
	}
	key, value := make([]byte, old.KeySize()), make([]byte, old.ValueSize())
	entries := old.Iterate()
	for entries.Next(&key, &value) {
		if err := m.Put(key, value); err != nil {
			m.Close()
			return nil, fmt.Errorf("cannot copy an entry (more endpoints than fit? raise MaxMembers): %w", err)
		}
	}
	if err := entries.Err(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// notPinned returns the maps of which dir has no pin, by name.
func (t *tables) notPinned(dir string) (map[string]*ebpf.Map, error) {
	lost := make(map[string]*ebpf.Map)
	for name, m := range t.all() {
		pinned, err := isPinned(filepath.Join(dir, name), *m)
		if err != nil {
			return nil, err
		}
		if !pinned {
			lost[name] = *m
		}
	}
	return lost, nil
}

func isPinned(path string, m *ebpf.Map) (bool, error) {
	there, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot open the pinned table %s: %w", path, err)
	}
	defer there.Close()
	same, err := sameMap(there, m)
	if err != nil {
		return false, fmt.Errorf("cannot tell which table is pinned at %s: %w", path, err)
	}
	return same, nil
}

func sameMap(a, b *ebpf.Map) (bool, error) {
	ofA, err := a.Info()
	if err != nil {
		return false, err
	}
	ofB, err := b.Info()
	if err != nil {
		return false, err
	}
	idA, knownA := ofA.ID()
	idB, knownB := ofB.ID()
	return knownA && knownB && idA == idB, nil
}

// pin pins the maps that are not, in place of others that may be. Until then
// the old ones are what a next start finds, and they say the same.
func (t *tables) pin(dir string) error {
	lost, err := t.notPinned(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the folder for pins: %w", err)
	}
	for name, m := range lost {
		path := filepath.Join(dir, name)
		fresh := path + "_new"
		if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot remove the left-over pin %s: %w", fresh, err)
		}
		if err := pinAt(fresh, m); err != nil {
			return fmt.Errorf("cannot pin a table at %s: %w", fresh, err)
		}
		if err := os.Rename(fresh, path); err != nil {
			return fmt.Errorf("cannot pin a table at %s: %w", path, err)
		}
	}
	return nil
}

// pinAt pins a map wherever else it may be, or was, pinned: the library would
// move that pin.
func pinAt(path string, m *ebpf.Map) error {
	unbound, err := m.Clone()
	if err != nil {
		return err
	}
	defer unbound.Close()
	return unbound.Pin(path)
}

func (t *tables) close() {
	for _, m := range t.all() {
		if *m != nil {
			(*m).Close()
		}
	}
}

func (t *tables) allPorts() (map[uint32]bpf.SwitchPort, error) {
	return readTable[uint32, bpf.SwitchPort](t.ports)
}

func (t *tables) allMembers() (map[bpf.SwitchMemberKey]bpf.SwitchMember, error) {
	return readTable[bpf.SwitchMemberKey, bpf.SwitchMember](t.members)
}

func readTable[K comparable, V any](m *ebpf.Map) (map[K]V, error) {
	all := make(map[K]V)
	var key K
	var value V
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		all[key] = value
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the table %s: %w", m, err)
	}
	return all, nil
}

// remove deletes an entry; one that is not there is fine.
func remove(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("cannot remove an entry of the table %s: %w", m, err)
	}
	return nil
}
