package sandbox

import (
	"context"
	"os"
	"slices"
)

// inKernel lists the sandboxes that the kernel has something of: interfaces of
// either network, or a bound namespace. What the kernel does not tell (the
// id of a private network) is empty.
func (m *Manager) inKernel(ctx context.Context) (map[string]Sandbox, error) {
	found := map[string]Sandbox{}
	get := func(id string) Sandbox {
		s := found[id]
		s.InstanceID, s.NetnsPath = id, m.netns(id)
		return s
	}
	entries, err := os.ReadDir(m.netnsDir())
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for _, e := range entries {
		found[e.Name()] = get(e.Name())
	}
	ports, err := m.cfg.Private.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if p.ID == "" {
			continue // half made: Set removes it
		}
		s := get(p.ID)
		s.Private, s.Network.Key, s.PrivateAddr = true, p.Network, p.Addr
		found[p.ID] = s
	}
	known, err := m.cfg.Outside.Known(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range known {
		s := get(e.ID)
		s.Outside, s.OutsideAddr, s.PublicPort = true, e.Addr, e.PublicPort
		found[e.ID] = s
	}
	return found, nil
}

// usage tells whether processes live in a sandbox. Where its namespace is not
// bound any more, that is looked for; where it cannot be found although an
// interface leads into it, somebody may be there.
func (m *Manager) usage() (func(Sandbox) bool, users, error) {
	all, err := findUsers()
	if err != nil {
		return nil, nil, err
	}
	return func(s Sandbox) bool {
		if isNamespace(s.NetnsPath) {
			return len(all.of(s.NetnsPath)) > 0
		}
		return m.findNamespace(all, s) != ""
	}, all, nil
}

// findNamespace returns where the namespace of a sandbox can be opened
// although it is not bound any more: at a process that is in it. "" when there
// is none.
func (m *Manager) findNamespace(all users, s Sandbox) string {
	if !s.Outside || !s.OutsideAddr.IsValid() {
		return ""
	}
	for _, pids := range all {
		path := processNamespace(slices.Min(pids))
		if m.cfg.Outside.Identify(path, outsideEndpoint(s)) {
			return path
		}
	}
	return ""
}
