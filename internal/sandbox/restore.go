package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/privnet"
)

// Restore is called once at start with the ids of the containers there are.
// It takes over their sandboxes, completes half-made ones, and removes all
// others. A wanted sandbox that does not exist (after a reboot) is left to
// the Setup that follows.
func (m *Manager) Restore(ctx context.Context, wanted []string) error {
	notes, err := m.readNotes()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, id := range wanted {
		keep[id] = true
	}
	var outsides []outside.Endpoint
	var privates []privnet.Endpoint
	var strays []Sandbox
	for _, s := range notes {
		if !keep[s.InstanceID] || !isNamespace(s.NetnsPath) {
			strays = append(strays, s)
			continue
		}
		if err := m.reserve(s); err != nil {
			return fmt.Errorf("cannot take over the addresses of container %s: %w", s.InstanceID, err)
		}
		m.sandboxes[s.InstanceID] = s
		if s.Outside {
			outsides = append(outsides, outsideEndpoint(s))
		}
		if s.Private {
			privates = append(privates, privateEndpoint(s))
		}
	}
	_, privateErr := m.cfg.Private.Set(ctx, privates)
	errs := []error{privateErr, m.cfg.Outside.Set(ctx, outsides)}
	for _, s := range strays {
		m.cfg.Log.Info("Removing the network of a container that is gone", "container", s.InstanceID)
		errs = append(errs, removeNamespace(s.NetnsPath), m.removeNote(s.InstanceID))
	}
	// What was in use until now, or shortly before the restart, rests.
	freed, err := m.resting()
	for _, s := range freed {
		if m.reserve(s) == nil {
			m.release(s)
		}
	}
	errs = append(errs, err)
	return errors.Join(append(errs, m.removeUnknownNamespaces())...)
}

// Private

func (m *Manager) notesDir() string { return filepath.Join(m.cfg.RunDir, "sandboxes") }
func (m *Manager) netnsDir() string { return filepath.Join(m.cfg.RunDir, "netns", "containers") }
func (m *Manager) note(id string) string {
	return filepath.Join(m.notesDir(), id+".json")
}

// restingNote is a note whose sandbox is gone; its addresses rest as long as
// the file is young, also over a restart of the server.
const restingNote = ".freed"

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

// writeNote writes a sandbox down; the file appears whole or not at all.
func (m *Manager) writeNote(s Sandbox) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("cannot note a sandbox: %w", err)
	}
	tmp := m.note(s.InstanceID) + ".new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return fmt.Errorf("cannot note a sandbox: %w", err)
	}
	if err := os.Rename(tmp, m.note(s.InstanceID)); err != nil {
		return fmt.Errorf("cannot note a sandbox: %w", err)
	}
	return nil
}

// removeNote turns a note into a resting one and forgets those that rested.
func (m *Manager) removeNote(id string) error {
	freed := filepath.Join(m.notesDir(), id+restingNote)
	err := os.Rename(m.note(id), freed)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Chtimes(freed, time.Time{}, m.cfg.Now())
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
			continue // another removal found it old, too
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

func (m *Manager) readNotes() ([]Sandbox, error) {
	entries, err := os.ReadDir(m.notesDir())
	if err != nil {
		return nil, fmt.Errorf("cannot list the sandboxes: %w", err)
	}
	var out []Sandbox
	for _, e := range entries {
		path := filepath.Join(m.notesDir(), e.Name())
		if strings.HasSuffix(e.Name(), restingNote) {
			continue
		}
		if !strings.HasSuffix(e.Name(), ".json") {
			// A note that a kill cut short; its sandbox was not begun.
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("cannot remove %s: %w", path, err)
			}
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", path, err)
		}
		var s Sandbox
		if err := json.Unmarshal(text, &s); err != nil || s.InstanceID+".json" != e.Name() {
			return nil, fmt.Errorf("%s is damaged (%v): remove it, its container gets new addresses", path, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// removeUnknownNamespaces removes bindings without a note.
func (m *Manager) removeUnknownNamespaces() error {
	entries, err := os.ReadDir(m.netnsDir())
	if err != nil {
		return fmt.Errorf("cannot list the network namespaces: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if _, known := m.sandboxes[e.Name()]; !known {
			errs = append(errs, removeNamespace(filepath.Join(m.netnsDir(), e.Name())))
		}
	}
	return errors.Join(errs...)
}
