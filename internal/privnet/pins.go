package privnet

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// Piece is a part of the switch itself, of no endpoint, that is not as it
// should be.
type Piece struct {
	Where string // a path, a sysctl's key, or the network of a policy
	What  string // what is wrong with it
}

const pinLost = "the table was not pinned any more"

// flaw is what is wrong with one kind of pieces. To look changes nothing; fix
// puts all of them right.
type flaw struct {
	pieces []Piece
	fix    func() error
}

// flaws looks at what outlives this process, and at what Set alone would not
// see: as long as this process holds the tables and the namespace, they can be
// pinned and bound again, and nothing of what they hold is lost.
func (s *Switch) flaws() (found []flaw, err error) {
	var failed []error
	for _, look := range []func() (flaw, error){s.bindFlaw, s.pinFlaw, s.sysctlFlaw, s.policyFlaw} {
		f, err := look()
		if err != nil {
			failed = append(failed, err)
		} else if len(f.pieces) > 0 {
			found = append(found, f)
		}
	}
	return found, errors.Join(failed...)
}

// restore puts the switch's own pieces right and returns those that were not.
func (s *Switch) restore() (restored []Piece, err error) {
	found, err := s.flaws()
	failed := []error{err}
	for _, f := range found {
		if err := f.fix(); err != nil {
			failed = append(failed, err)
			continue
		}
		for _, p := range f.pieces {
			s.log.Warn("Repaired the switch", "where", p.Where, "what", p.What)
		}
		restored = append(restored, f.pieces...)
	}
	return restored, errors.Join(failed...)
}

// bindFlaw: without its binding, the namespace and every interface in it go
// with this process.
func (s *Switch) bindFlaw() (f flaw, err error) {
	f.fix = s.bindAgain
	var ours, there unix.Stat_t
	if err := unix.Fstat(int(s.ns), &ours); err != nil {
		return f, fmt.Errorf("cannot look at the switch namespace: %w", err)
	}
	err = unix.Stat(s.cfg.Netns, &there)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return f, fmt.Errorf("cannot look at the switch namespace: %w", &os.PathError{Op: "stat", Path: s.cfg.Netns, Err: err})
	}
	if err != nil || ours.Ino != there.Ino || ours.Dev != there.Dev {
		f.pieces = []Piece{{s.cfg.Netns, "the switch namespace was not bound any more"}}
	}
	return f, nil
}

func (s *Switch) bindAgain() error {
	err := os.MkdirAll(filepath.Dir(s.cfg.Netns), 0o755)
	if err == nil {
		// What is bound there instead would come back with the next umount.
		err = namespace.Unbind(s.cfg.Netns)
	}
	if err == nil {
		err = namespace.Bind(s.ns, s.cfg.Netns)
	}
	if err != nil {
		return fmt.Errorf("cannot bind the switch namespace again: %w", err)
	}
	return nil
}

// pinFlaw: without its pin, a table goes with this process and the programs of
// the ports, and the next process does not find it.
func (s *Switch) pinFlaw() (f flaw, err error) {
	f.fix = s.pinAgain
	on, err := onBPFFS(s.cfg.BPFFS)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return f, fmt.Errorf("cannot look at the folder for pins: %w", err)
	}
	if !on {
		f.pieces = []Piece{{s.cfg.BPFFS, "the BPF file system was not mounted any more"}}
		return f, nil
	}
	lost, err := s.maps.notPinned(pinDir(s.cfg.BPFFS))
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		f.pieces = append(f.pieces, Piece{filepath.Join(pinDir(s.cfg.BPFFS), name), pinLost})
	}
	return f, err
}

func (s *Switch) pinAgain() error {
	if err := mountBPFFS(s.cfg.BPFFS); err != nil {
		return err
	}
	return s.maps.pin(pinDir(s.cfg.BPFFS))
}

// sysctlFlaw: see switchSysctls.
func (s *Switch) sysctlFlaw() (f flaw, err error) {
	f.fix = s.silenceAgain
	var loud []sysctl
	err = s.withSysctls(func(now *namespace.Settings) (err error) {
		loud, err = loudSysctls(now)
		return err
	})
	for _, l := range loud {
		f.pieces = append(f.pieces, Piece{"switch:" + l.key, "it was not " + l.value})
	}
	return f, err
}

// silenceAgain sets what is for all interfaces first: that sets most of theirs.
func (s *Switch) silenceAgain() error {
	return s.withSysctls(func(now *namespace.Settings) error {
		for range 2 {
			loud, err := loudSysctls(now)
			if err != nil {
				return err
			}
			for _, l := range loud {
				if err := writeSysctl(now, l.key, l.value); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
		}
		return nil
	})
}

// withSysctls runs f with those of the switch namespace.
func (s *Switch) withSysctls(f func(*namespace.Settings) error) error {
	return namespace.Do(s.ns, func() error {
		var now namespace.Settings
		defer now.Close()
		return f(&now)
	})
}

// loudSysctls returns the sysctls that are not as the switch wants them, those
// of single interfaces only when the general ones are.
func loudSysctls(now *namespace.Settings) (loud []sysctl, err error) {
	for _, want := range switchSysctls {
		if err := addLoud(&loud, now, want); err != nil {
			return nil, err
		}
	}
	if len(loud) > 0 {
		return loud, nil
	}
	interfaces, err := os.ReadDir("/proc/sys/net/ipv4/conf")
	if err != nil {
		return nil, fmt.Errorf("cannot list the sysctls of the switch namespace: %w", err)
	}
	for _, i := range interfaces {
		for _, want := range []sysctl{{"net/ipv6/conf/" + i.Name() + "/disable_ipv6", "1"}, {"net/ipv4/conf/" + i.Name() + "/forwarding", "0"}} {
			if err := addLoud(&loud, now, want); err != nil {
				return nil, err
			}
		}
	}
	return loud, nil
}

// addLoud adds a sysctl with another value. One that is not there has none:
// its interface went, or the kernel has no IPv6.
func addLoud(loud *[]sysctl, now *namespace.Settings, want sysctl) error {
	value, err := now.Get(want.key)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read a sysctl of the switch namespace: %w", err)
	}
	if value != want.value {
		*loud = append(*loud, want)
	}
	return nil
}

// policyFlaw: the tables do not say what SetPolicies was told last. Before it
// was told anything, they say what another process did.
func (s *Switch) policyFlaw() (f flaw, err error) {
	f.fix = func() error {
		s.policing.Lock()
		defer s.policing.Unlock()
		return s.enterPolicies()
	}
	s.policing.Lock()
	defer s.policing.Unlock()
	networks, err := s.otherPolicies()
	for _, network := range networks {
		f.pieces = append(f.pieces, Piece{fmt.Sprintf("policy of network %d", network), "the switch's tables said something else"})
	}
	return f, err
}
