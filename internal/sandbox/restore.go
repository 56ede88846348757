package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/privnet"
)

// Restore is called once at start, with the containers there are and what the
// engine remembers of their networks. It takes over their sandboxes, completes
// half-made ones, and removes all others, unless so many containers run in
// these that the knowledge of them must be lost (see guard); accept removes
// them all the same. A wanted sandbox that does not exist (after a reboot) is
// left to the Setup that follows.
//
// One container whose network cannot be taken over does not keep the others
// from it, nor the server from starting: the log says what to do.
func (m *Manager) Restore(ctx context.Context, wanted []Sandbox, accept bool) error {
	m.whole.Lock()
	defer m.whole.Unlock()
	notes, err := m.readNotes()
	if err != nil {
		return err
	}
	kernel, err := m.inKernel(ctx)
	if err != nil {
		return fmt.Errorf("cannot see what there is of containers' networks: %w", err)
	}
	inUse, processes, err := m.usage()
	if err != nil {
		return err
	}
	lost := m.takeOver(wanted, notes, processes)
	strays := m.straysAmong(notes, kernel, wanted)
	remove, hold, refused := guard(m.list(), strays, inUse)
	if accept && len(refused) > 0 {
		remove, hold, refused = strays, nil, nil
	}
	m.report(refused)
	for _, s := range hold {
		m.hold(processes, s)
	}
	m.set(ctx)
	errs := []error{m.forget(append(remove, lost...), "no container has it")}
	return errors.Join(append(errs, m.restAddresses())...)
}

// Private

// takeOver makes the sandboxes of the containers there are ours again, and
// returns those of which too little is left.
func (m *Manager) takeOver(wanted []Sandbox, notes map[string]Sandbox, processes users) (lost []Sandbox) {
	for _, w := range wanted {
		noted, isNoted := notes[w.InstanceID]
		w.NetnsPath = m.netns(w.InstanceID)
		switch {
		case isNoted && m.adopt(processes, noted):
			m.own(noted)
		case m.plausible(w) == nil && (w.Private || w.Outside) && m.adopt(processes, w):
			m.cfg.Log.Warn("The network of a container was not noted; taken over from what the engine knows", "container", w.InstanceID)
			m.keep(w)
		case isNoted:
			lost = append(lost, noted)
		}
	}
	return lost
}

// own ends the hold of a sandbox that the engine knows again.
func (m *Manager) own(s Sandbox) {
	if s.Held {
		s.Held = false
		m.keep(s)
	}
}

// adopt takes a sandbox over if its namespace is there; one that is not bound
// any more is bound again.
func (m *Manager) adopt(processes users, s Sandbox) bool {
	if !isNamespace(s.NetnsPath) {
		at := m.findNamespace(processes, s)
		if at == "" {
			return false
		}
		if err := bindNamespace(at, s.NetnsPath); err != nil {
			m.cfg.Log.Error("A container's network namespace cannot be bound again; restart its app", "container", s.InstanceID, "error", err)
			return false
		}
		m.cfg.Log.Warn("Repaired a container's network", "container", s.InstanceID, "where", s.NetnsPath, "what", "its namespace was not bound any more")
	}
	if err := m.reserve(s); err != nil {
		m.cfg.Log.Error("A container's network cannot be taken over; restart its app", "container", s.InstanceID, "error", err)
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sandboxes[s.InstanceID] = s
	return true
}

// straysAmong are the sandboxes that no wanted container has.
func (m *Manager) straysAmong(notes, kernel map[string]Sandbox, wanted []Sandbox) (strays []Sandbox) {
	known := map[string]bool{}
	for _, w := range wanted {
		known[w.InstanceID] = true
	}
	for id, s := range notes {
		if !known[id] {
			known[id] = true
			strays = append(strays, s)
		}
	}
	for id, s := range kernel {
		if !known[id] {
			strays = append(strays, s)
		}
	}
	sortByID(strays)
	return strays
}

// hold keeps a stray as if it were wanted, until the engine knows it or its
// processes end.
func (m *Manager) hold(processes users, s Sandbox) {
	s.Private, s.Outside = s.Private && s.PrivateAddr.IsValid(), s.Outside && s.OutsideAddr.IsValid()
	s.Held = true
	if _, ours := m.sandboxes[s.InstanceID]; !ours && (m.plausible(s) != nil || !m.adopt(processes, s)) {
		return
	}
	m.keep(s)
}

// keep takes note of what changed of a sandbox that is ours.
func (m *Manager) keep(s Sandbox) {
	m.mu.Lock()
	m.sandboxes[s.InstanceID] = s
	m.mu.Unlock()
	if _, err := m.ensureNote(s); err != nil {
		m.cfg.Log.Error("The network of a container cannot be noted", "container", s.InstanceID, "error", err)
	}
}

// set makes both networks exactly those of the sandboxes.
func (m *Manager) set(ctx context.Context) {
	if _, err := m.cfg.Private.Set(ctx, m.privates()); err != nil {
		m.cfg.Log.Error("Not every private interface could be restored; restart the apps of these containers if the next look does not repair them", "error", err)
	}
	if err := m.cfg.Outside.Set(ctx, m.outsides()); err != nil {
		m.cfg.Log.Error("Not every outside interface could be restored; restart the apps of these containers if the next look does not repair them", "error", err)
	}
}

func (m *Manager) privates() (all []privnet.Endpoint) {
	for _, s := range m.list() {
		if s.Private {
			all = append(all, privateEndpoint(s))
		}
	}
	return all
}

func (m *Manager) outsides() (all []outside.Endpoint) {
	for _, s := range m.list() {
		if s.Outside {
			all = append(all, outsideEndpoint(s))
		}
	}
	return all
}

// forget removes what there is of sandboxes beside their interfaces.
func (m *Manager) forget(strays []Sandbox, why string) error {
	var errs []error
	for _, s := range strays {
		m.cfg.Log.Info("Removing the network of a container", "container", s.InstanceID, "why", why)
		if m.reserve(s) == nil {
			m.release(s) // so that its addresses rest
		}
		errs = append(errs, removeNamespace(m.netns(s.InstanceID)), m.removeNote(s.InstanceID))
	}
	return errors.Join(errs...)
}

// restAddresses lets rest what was in use until now, or shortly before the
// restart.
func (m *Manager) restAddresses() error {
	freed, err := m.resting()
	for _, s := range freed {
		if m.reserve(s) == nil {
			m.release(s)
		}
	}
	return err
}

func (m *Manager) reserve(s Sandbox) error {
	if s.PrivateAddr.IsValid() {
		if err := m.privateAddrs.Reserve(s.Network.Key, s.PrivateAddr); err != nil {
			return err
		}
	}
	if s.OutsideAddr.IsValid() {
		if err := m.outsideAddrs.Reserve(s.OutsideAddr); err != nil {
			if s.PrivateAddr.IsValid() {
				m.privateAddrs.Release(s.Network.Key, s.PrivateAddr)
			}
			return err
		}
	}
	return nil
}
