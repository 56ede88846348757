package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/privnet"
)

// Finding is something that was not as it should be.
type Finding struct {
	// Container is the id, "" for what belongs to all of them.
	Container string `json:"container_id,omitempty"`
	Where     string `json:"where"`
	What      string `json:"what"`
}

// Report is what a look at the networks came to.
type Report struct {
	// Repaired was damaged or missing and is not any more.
	Repaired []Finding `json:"repaired"`
	// Removed belonged to no container.
	Removed []Finding `json:"removed"`
	// Failed is still wrong; What says what to do.
	Failed []Finding `json:"failed"`
	// Refused are removals that were not done.
	Refused []Refusal `json:"refused"`
}

// Options are what Repair has to know.
type Options struct {
	// Containers returns every container the engine has, builds included,
	// and whether a process of it runs. It is called while no sandbox is
	// made or removed. Nil: all sandboxes are wanted.
	Containers func() map[string]bool
	// Accept removes what would be refused.
	Accept bool
}

// Repair compares everything in the kernel and on disk with the sandboxes
// there are, restores what is missing or damaged, removes strays, and writes a
// log line for each. What is in order is not touched: a look at a machine in
// order changes nothing and costs a few lists.
func (m *Manager) Repair(ctx context.Context, o Options) (Report, error) {
	m.whole.Lock()
	defer m.whole.Unlock()
	p := &pass{m: m, ctx: ctx}
	if o.Containers != nil {
		p.containers = o.Containers()
	}
	err := errors.Join(p.strays(o.Accept), p.sandboxes(), p.private(), p.outside())
	m.logFailures(p.report.Failed)
	if err != nil {
		err = fmt.Errorf("cannot look after every container's network: %w", err)
	}
	return p.report, err
}

// Private

// pass is one look.
type pass struct {
	m          *Manager
	ctx        context.Context
	containers map[string]bool
	report     Report
	// inUse and processes are nil until something is amiss.
	inUse     func(Sandbox) bool
	processes users
}

func (p *pass) repaired(container, where, what string) {
	p.report.Repaired = append(p.report.Repaired, Finding{container, where, what})
	if container == "" {
		p.m.cfg.Log.Warn("Repaired the network of all containers", "where", where, "what", what)
		return
	}
	p.m.cfg.Log.Warn("Repaired a container's network", "container", container, "where", where, "what", what)
}

func (p *pass) failed(container, where, what string) {
	p.report.Failed = append(p.report.Failed, Finding{container, where, what})
}

// look finds out about processes, once.
func (p *pass) look() (err error) {
	if p.inUse == nil {
		p.inUse, p.processes, err = p.m.usage()
	}
	return err
}

// strays removes sandboxes that no container has, as far as that is safe.
func (p *pass) strays(accept bool) error {
	kernel, err := p.m.inKernel(p.ctx)
	if err != nil {
		return err
	}
	var kept, strays []Sandbox
	for _, s := range p.m.list() {
		if _, known := p.containers[s.InstanceID]; known || p.containers == nil {
			kept = append(kept, s)
			if known {
				p.m.own(s)
			}
		} else {
			strays = append(strays, s)
		}
	}
	for id, s := range kernel {
		_, ours := p.m.sandboxes[id]
		_, known := p.containers[id]
		switch {
		case ours:
		case known:
			p.failed(id, s.NetnsPath, "its network could not be taken over when the server started: restart its app")
			kept = append(kept, s) // its container may run with it
		default:
			strays = append(strays, s)
		}
	}
	if len(strays) == 0 {
		p.m.report(nil)
		return nil
	}
	if err := p.look(); err != nil {
		return err
	}
	sortByID(strays)
	remove, hold, refused := guard(kept, strays, p.inUse)
	if accept && len(refused) > 0 {
		remove, hold, refused = strays, nil, nil
	}
	p.report.Refused = refused
	p.m.report(refused)
	for _, s := range hold {
		p.m.hold(p.processes, s)
	}
	var errs []error
	for _, s := range remove {
		errs = append(errs, p.remove(s))
	}
	return errors.Join(errs...)
}

func (p *pass) remove(s Sandbox) error {
	what := "no container has this network"
	if pids := p.processes.of(s.NetnsPath); len(pids) > 0 {
		what += fmt.Sprintf("; the processes %v were in it", pids)
	}
	if _, ours := p.m.sandboxes[s.InstanceID]; !ours {
		// Its addresses were never taken from the pools; another container
		// may have them.
		s.PrivateAddr, s.OutsideAddr = netip.Addr{}, netip.Addr{}
	}
	if err := p.m.remove(p.ctx, s); err != nil {
		return err
	}
	p.m.mu.Lock()
	delete(p.m.sandboxes, s.InstanceID)
	p.m.mu.Unlock()
	p.report.Removed = append(p.report.Removed, Finding{s.InstanceID, s.NetnsPath, what})
	p.m.cfg.Log.Warn("Removed a stray network", "container", s.InstanceID, "where", s.NetnsPath, "what", what)
	return nil
}

// sandboxes looks after notes, namespaces and their settings.
func (p *pass) sandboxes() error {
	var errs []error
	for _, s := range p.m.list() {
		noted, err := p.m.ensureNote(s)
		if noted {
			p.repaired(s.InstanceID, p.m.note(s.InstanceID), "its note was missing or damaged")
		}
		errs = append(errs, err)
		if !isNamespace(s.NetnsPath) {
			errs = append(errs, p.namespace(s))
			continue
		}
		wrong, err := repairSettings(s.NetnsPath)
		for _, what := range wrong {
			p.repaired(s.InstanceID, s.NetnsPath, what)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// namespace brings a namespace back that is not bound any more.
func (p *pass) namespace(s Sandbox) error {
	if err := p.look(); err != nil {
		return err
	}
	at := p.m.findNamespace(p.processes, s)
	runs, known := p.containers[s.InstanceID]
	switch {
	case at != "":
		if err := bindNamespace(at, s.NetnsPath); err != nil {
			return err
		}
		p.repaired(s.InstanceID, s.NetnsPath, "its namespace was not bound any more")
	case known && !runs:
		if err := p.m.make(p.ctx, s); err != nil {
			return err
		}
		p.repaired(s.InstanceID, s.NetnsPath, "its namespace was gone; as no process was in it, a new one was made")
	default:
		p.failed(s.InstanceID, s.NetnsPath, "its namespace is not bound any more and cannot be found: restart its app")
	}
	return nil
}

// private looks after the private network. The switch logs what it repairs.
func (p *pass) private() error {
	endpoints := p.m.privates()
	d, err := p.m.cfg.Private.Compare(p.ctx, endpoints)
	if d.Empty() {
		return err
	}
	report, err := p.m.cfg.Private.Set(p.ctx, endpoints)
	for _, id := range report.Attached {
		p.repaired(id, privnet.Interface, "it was gone")
	}
	for _, id := range report.Repaired {
		p.report.Repaired = append(p.report.Repaired, Finding{id, privnet.Interface, "it was damaged"})
	}
	for _, id := range report.Removed {
		p.report.Removed = append(p.report.Removed, Finding{id, privnet.Interface, "no container has this interface"})
	}
	for _, piece := range report.Pieces {
		p.report.Repaired = append(p.report.Repaired, Finding{"", piece.Where, piece.What})
	}
	if report.Entries > 0 {
		p.report.Removed = append(p.report.Removed, Finding{"", "switch", fmt.Sprintf("%d entries of interfaces that are gone", report.Entries)})
	}
	return err
}

// outside looks after the outside network, and looks again after a repair.
func (p *pass) outside() error {
	endpoints := p.m.outsides()
	found, err := p.m.cfg.Outside.Compare(p.ctx, endpoints)
	found = slices.DeleteFunc(found, p.given)
	if err != nil || len(found) == 0 {
		return err
	}
	setErr := p.m.cfg.Outside.Set(p.ctx, endpoints)
	left, err := p.m.cfg.Outside.Compare(p.ctx, endpoints)
	left = slices.DeleteFunc(left, p.given)
	for _, f := range found {
		if slices.Contains(left, f) {
			continue
		}
		if f.Stray {
			p.report.Removed = append(p.report.Removed, Finding{f.Endpoint, f.Where, f.What})
			p.m.cfg.Log.Warn("Removed a stray interface", "container", f.Endpoint, "where", f.Where, "what", f.What)
			continue
		}
		p.repaired(f.Endpoint, f.Where, f.What)
	}
	for _, f := range left {
		p.failed(f.Endpoint, f.Where, f.What+": restart the app of this container; if that does not help, restart the server and read its log")
	}
	return errors.Join(setErr, err)
}

// given reports whether a finding is about a container that cannot be
// repaired: that is said already, and no reason to try again and again.
func (p *pass) given(f outside.Finding) bool {
	return f.Endpoint != "" && slices.ContainsFunc(p.report.Failed, func(failed Finding) bool { return failed.Container == f.Endpoint })
}

// report logs refusals, when they are others than before.
func (m *Manager) report(refused []Refusal) {
	if !SameContainers(m.refused, refused) {
		var lines []string
		for _, r := range refused {
			lines = append(lines, r.String())
		}
		if len(lines) > 0 {
			m.cfg.Log.Error("REFUSED TO REMOVE THE NETWORKS OF CONTAINERS THAT RUN: too many at once, and nobody asked for it. Is the database, containerd's data or the run folder another one than before? Put it back and restart the server. If they are to be removed: atoll server --accept-removal",
				"refused", strings.Join(lines, "; "))
		} else {
			m.cfg.Log.Info("No removal of networks is refused any more")
		}
	}
	m.refused = refused
}

// logFailures logs what could not be repaired, once as long as it lasts.
func (m *Manager) logFailures(failed []Finding) {
	for _, f := range failed {
		if !slices.Contains(m.failures, f) {
			m.cfg.Log.Error("Cannot repair a container's network", "container", f.Container, "where", f.Where, "what", f.What)
		}
	}
	m.failures = failed
}
