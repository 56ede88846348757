package privnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/atollhq/atoll/internal/namespace"
	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// heldTables are tables whose pins are gone. The programs of the ports hold them:
// with new ones in their place, a start would forget who is a member, the
// policies and every count, and a start with only some of them new would take
// members for strays.
type heldTables struct {
	ids func() (map[string]ebpf.MapID, error)
}

// tablesHeld looks into the switch namespace at path, when it is first asked.
func tablesHeld(path string, specs map[string]*ebpf.MapSpec) heldTables {
	return heldTables{sync.OnceValues(func() (map[string]ebpf.MapID, error) { return findTables(path, specs) })}
}

// open returns the table with the name that the ports use, nil if none do.
func (h heldTables) open(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	ids, err := h.ids()
	if err != nil {
		return nil, err
	}
	id, ok := ids[spec.Name]
	if !ok {
		return nil, nil
	}
	m, err := ebpf.NewMapFromID(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // the last port went
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the table %s that the ports use: %w", spec.Name, err)
	}
	if !alike(m, spec) {
		return nil, m.Close()
	}
	return m, nil
}

// namespaceLost tells whether there is no switch namespace although there was
// one: tables are pinned.
func namespaceLost(path, pins string) bool {
	bound, err := namespace.Bound(path)
	if err != nil {
		return false // openNamespace says so
	}
	_, err = os.Stat(filepath.Join(pins, bpf.SwitchMapPnPorts))
	return !bound && err == nil
}

// findTables returns the tables of the switch's program that most ports of a
// namespace run, by name.
func findTables(path string, specs map[string]*ebpf.MapSpec) (map[string]ebpf.MapID, error) {
	bound, err := namespace.Bound(path)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the switch namespace: %w", err)
	}
	if !bound {
		return nil, nil
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the switch namespace: %w", err)
	}
	defer ns.Close()
	handle, err := handleAt(ns)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	programs, err := programsInUse(handle)
	if err != nil {
		return nil, err
	}
	var tables map[string]ebpf.MapID
	most := 0
	for id, ports := range programs {
		if ports <= most {
			continue
		}
		found, err := tablesOf(id, specs)
		if err != nil {
			return nil, err
		}
		if found != nil {
			tables, most = found, ports
		}
	}
	return tables, nil
}

// programsInUse counts the ports that run each program.
func programsInUse(handle *netlink.Handle) (map[ebpf.ProgramID]int, error) {
	links, err := hostEnds(handle)
	if err != nil {
		return nil, err
	}
	programs := make(map[ebpf.ProgramID]int)
	for _, link := range links {
		id, err := filterOf(handle, link)
		if err != nil {
			continue // it goes: its container ended
		}
		if id != 0 {
			programs[id]++
		}
	}
	return programs, nil
}

// tablesOf returns the tables of a program by name, nil if it is none of ours
// or of another version: some of its tables with some new ones say nothing.
func tablesOf(id ebpf.ProgramID, specs map[string]*ebpf.MapSpec) (map[string]ebpf.MapID, error) {
	program, err := ebpf.NewProgramFromID(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the program that the ports run: %w", err)
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return nil, fmt.Errorf("cannot read about the program that the ports run: %w", err)
	}
	if info.Name != bpf.SwitchProgSwitchFrame {
		return nil, nil
	}
	ids, _ := info.MapIDs()
	tables := make(map[string]ebpf.MapID, len(ids))
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return nil, fmt.Errorf("cannot open a table of the program that the ports run: %w", err)
		}
		info, err := m.Info()
		m.Close()
		if err != nil {
			return nil, fmt.Errorf("cannot read about a table of the program that the ports run: %w", err)
		}
		if spec := specs[info.Name]; spec != nil && !forgets(spec) && !alike(m, spec) {
			return nil, nil
		}
		tables[info.Name] = id
	}
	return tables, nil
}
