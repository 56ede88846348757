package rig

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// setting is a file of /proc/sys that a suite changed for the whole machine.
type setting struct{ Path, Former, Now string }

// settingsFile is where a data folder has them: a run that is killed restores
// nothing, and the next one does it.
const settingsFile = "machine-settings.json"

// RaiseSetting makes a number in /proc/sys at least min until the machine is
// removed. It is for the few that the kernel has once for all namespaces.
func (m *Machine) RaiseSetting(t testing.TB, path string, min int) {
	t.Helper()
	if err := raiseSetting(m.data, path, min); err != nil {
		t.Fatal(err)
	}
}

func raiseSetting(data, path string, min int) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	former := strings.TrimSpace(string(text))
	n, err := strconv.Atoi(former)
	if err != nil {
		return fmt.Errorf("%s is no number: %w", path, err)
	}
	if n >= min {
		return nil
	}
	changed, err := readSettings(data)
	if err != nil {
		return err
	}
	changed = append(changed, setting{path, former, strconv.Itoa(min)})
	note, err := json.Marshal(changed)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(data, settingsFile), note, 0o600); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strconv.Itoa(min)), 0o644)
}

func readSettings(data string) (changed []setting, err error) {
	note, err := os.ReadFile(filepath.Join(data, settingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return changed, json.Unmarshal(note, &changed)
}

// restoreSettings puts back what a run with this data folder changed, unless
// somebody else has set it meanwhile.
func restoreSettings(data string) error {
	changed, err := readSettings(data)
	if err != nil {
		return fmt.Errorf("cannot tell which settings of the machine a run changed: %w", err)
	}
	var errs []error
	for _, s := range changed {
		now, err := os.ReadFile(s.Path)
		if err == nil && strings.TrimSpace(string(now)) == s.Now {
			err = os.WriteFile(s.Path, []byte(s.Former), 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
