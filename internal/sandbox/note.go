package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/statefile"
)

// A sandbox's note is <id>.json in the folder of notes. Other endings:
const (
	// restingNote is a note whose sandbox is gone; its addresses rest as long
	// as the file is young, also over a restart of the server.
	restingNote = ".freed"
	// damagedNote is a note that could not be used. Nothing reads it again.
	damagedNote = ".damaged"
)

func (m *Manager) notesDir() string { return filepath.Join(m.cfg.RunDir, "sandboxes") }
func (m *Manager) netnsDir() string { return filepath.Join(m.cfg.RunDir, "netns", "containers") }
func (m *Manager) note(id string) string {
	return filepath.Join(m.notesDir(), id+".json")
}
func (m *Manager) netns(id string) string { return filepath.Join(m.netnsDir(), id) }

// writeNote writes a sandbox down; the file appears whole or not at all.
func (m *Manager) writeNote(s Sandbox) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("cannot note a sandbox: %w", err)
	}
	if err := statefile.Replace(m.note(s.InstanceID), text, 0o600); err != nil {
		return fmt.Errorf("cannot note a sandbox: %w", err)
	}
	return nil
}

// ensureNote writes the note of a sandbox that has none, or another one, and
// says whether it had to.
func (m *Manager) ensureNote(s Sandbox) (repaired bool, err error) {
	text, err := os.ReadFile(m.note(s.InstanceID))
	if err == nil {
		if have, err := m.parseNote(s.InstanceID, text); err == nil && have == s {
			return false, nil
		}
	}
	if err := os.MkdirAll(m.notesDir(), 0o711); err != nil {
		return false, fmt.Errorf("cannot make the folder of notes: %w", err)
	}
	return true, m.writeNote(s)
}

// dropNote removes the note of a sandbox that no container had.
func (m *Manager) dropNote(id string) error {
	if err := os.Remove(m.note(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove the note of a sandbox: %w", err)
	}
	return nil
}

// removeNote turns a note into a resting one and forgets those that rested.
// It is young before it is resting: after a kill in between, the next start
// would take it for one that has rested.
func (m *Manager) removeNote(id string) error {
	err := os.Chtimes(m.note(id), time.Time{}, m.cfg.Now())
	if err == nil {
		err = os.Rename(m.note(id), filepath.Join(m.notesDir(), id+restingNote))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = m.resting()
	}
	if err != nil {
		return fmt.Errorf("cannot forget a sandbox: %w", err)
	}
	return nil
}

// resting returns the sandboxes whose addresses still rest, and removes the
// notes of the others.
func (m *Manager) resting() ([]Sandbox, error) {
	paths, err := filepath.Glob(filepath.Join(m.notesDir(), "*"+restingNote))
	if err != nil {
		return nil, err
	}
	var out []Sandbox
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // another container's removal was quicker
		}
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		var s Sandbox
		if m.cfg.Now().Sub(info.ModTime()) < privnet.MinRest && json.Unmarshal(text, &s) == nil {
			out = append(out, s)
		} else if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return out, nil
}

// readNotes returns the sandboxes that are noted. A note that cannot be used
// is set aside: one damaged file must not keep all others down.
func (m *Manager) readNotes() (map[string]Sandbox, error) {
	entries, err := os.ReadDir(m.notesDir())
	if err != nil {
		return nil, fmt.Errorf("cannot list the sandboxes: %w", err)
	}
	out := map[string]Sandbox{}
	for _, e := range entries {
		path := filepath.Join(m.notesDir(), e.Name())
		id, isNote := strings.CutSuffix(e.Name(), ".json")
		switch {
		case strings.HasSuffix(e.Name(), restingNote) || strings.HasSuffix(e.Name(), damagedNote):
			continue
		case !isNote:
			// A note that a kill cut short; its sandbox was not begun.
			if err := os.RemoveAll(path); err != nil {
				return nil, fmt.Errorf("cannot remove %s: %w", path, err)
			}
			continue
		}
		text, err := os.ReadFile(path)
		if err == nil {
			var s Sandbox
			if s, err = m.parseNote(id, text); err == nil {
				out[id] = s
				continue
			}
		}
		if err := m.setAside(id, err); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// setAside renames a note that cannot be used.
func (m *Manager) setAside(id string, reason error) error {
	aside := filepath.Join(m.notesDir(), id+damagedNote)
	m.cfg.Log.Error("The note of a container's network cannot be used and is set aside. If the container runs, its network is taken over from what the engine and the kernel know; if it has no network afterwards, restart its app",
		"container", id, "file", aside, "error", reason)
	err := os.RemoveAll(aside)
	if err == nil {
		err = os.Rename(m.note(id), aside)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot set the damaged note of container %s aside: %w", id, err)
	}
	return nil
}

// parseNote reads a note and checks that it can be true.
func (m *Manager) parseNote(id string, text []byte) (s Sandbox, err error) {
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("it is damaged: %w", err)
	}
	if s.InstanceID != id {
		return s, fmt.Errorf("it is about container %q", s.InstanceID)
	}
	return s, m.plausible(s)
}

// plausible refuses what no Setup of ours could have made.
func (m *Manager) plausible(s Sandbox) error {
	switch {
	case s.InstanceID == "" || filepath.Base(s.InstanceID) != s.InstanceID || !filepath.IsLocal(s.InstanceID):
		return fmt.Errorf("%q cannot be the id of a container", s.InstanceID)
	case s.NetnsPath != m.netns(s.InstanceID):
		return fmt.Errorf("its network namespace is said to be %q", s.NetnsPath)
	case s.Private && !privnet.Prefix.Contains(s.PrivateAddr):
		return fmt.Errorf("it cannot have the private address %q", s.PrivateAddr)
	case s.Outside && !m.cfg.OutsidePrefix.Contains(s.OutsideAddr):
		return fmt.Errorf("it cannot have the address %q on %s", s.OutsideAddr, outside.Interface)
	}
	return nil
}
