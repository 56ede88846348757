package privnet

import (
	"errors"
	"fmt"
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
	opened    *ebpf.Map // who opened which conversation
	fragments *ebpf.Map // what a first fragment said
	flows     *ebpf.Map // who talked to whom
	dropped   *ebpf.Map // what was dropped between whom
	pace      *ebpf.Map // what each port added to these lately

	// unpinned are the maps that replace a pinned one, by path.
	unpinned map[string]*ebpf.Map
}

// all returns where each map is kept, by its name in the program.
func (t *tables) all() map[string]**ebpf.Map {
	return map[string]**ebpf.Map{
		bpf.SwitchMapPnPorts:     &t.ports,
		bpf.SwitchMapPnMembers:   &t.members,
		bpf.SwitchMapPnDrops:     &t.drops,
		bpf.SwitchMapPnPolicies:  &t.policies,
		bpf.SwitchMapPnRules:     &t.rules,
		bpf.SwitchMapPnOpened:    &t.opened,
		bpf.SwitchMapPnFragments: &t.fragments,
		bpf.SwitchMapPnFlows:     &t.flows,
		bpf.SwitchMapPnDropped:   &t.dropped,
		bpf.SwitchMapPnPace:      &t.pace,
	}
}

// openTables opens the pinned maps in dir and makes those that are missing.
// A map of another size is copied into a new one, which is not pinned yet: the
// programs in use still hold the old one. Call pin when they no longer do.
func openTables(dir string, specs map[string]*ebpf.MapSpec) (_ *tables, err error) {
	t := &tables{unpinned: make(map[string]*ebpf.Map)}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	for name, to := range t.all() {
		path := filepath.Join(dir, name)
		m, pinned, err := openTable(path, specs[name])
		if err != nil {
			return nil, err
		}
		*to = m
		if !pinned {
			t.unpinned[path] = m
		}
	}
	return t, nil
}

func openTable(path string, spec *ebpf.MapSpec) (m *ebpf.Map, pinned bool, err error) {
	old, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		m, err = newTable(spec)
		return m, false, err
	}
	if err != nil {
		return nil, false, fmt.Errorf("cannot open the pinned table %s: %w", path, err)
	}
	same := old.Type() == spec.Type && old.KeySize() == spec.KeySize && old.ValueSize() == spec.ValueSize
	if same && old.MaxEntries() == spec.MaxEntries && old.Flags() == spec.Flags {
		return old, true, nil
	}
	defer old.Close()
	if forgets(spec) {
		m, err = newTable(spec)
		return m, false, err
	}
	if !same {
		return nil, false, fmt.Errorf("%w: %s is a %v of %d to %d bytes, want a %v of %d to %d. "+
			"Start the version that made it; or stop every container, remove the folder of pins and start again",
			ErrIncompatible, path, old.Type(), old.KeySize(), old.ValueSize(), spec.Type, spec.KeySize, spec.ValueSize)
	}
	m, err = migrate(old, spec)
	if err != nil {
		return nil, false, fmt.Errorf("cannot change the size of the table %s from %d to %d entries: %w",
			path, old.MaxEntries(), spec.MaxEntries, err)
	}
	return m, false, nil
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

// pin pins the maps that are not, in place of the old ones. Until then the old
// ones are what a next start finds, and they say the same.
func (t *tables) pin() error {
	for path, m := range t.unpinned {
		fresh := path + "_new"
		if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot remove the left-over pin %s: %w", fresh, err)
		}
		if err := m.Pin(fresh); err != nil {
			return fmt.Errorf("cannot pin a table at %s: %w", fresh, err)
		}
		if err := os.Rename(fresh, path); err != nil {
			return fmt.Errorf("cannot pin a table at %s: %w", path, err)
		}
		delete(t.unpinned, path)
	}
	return nil
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
