package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/statefile"
)

// root holds one folder for each lab. It is below /run so that a restart of the
// machine, after which nothing of a lab is there, forgets the labs too. (Where
// /run is on disk, the boot id in the records tells.)
const root = "/run/atoll-lab"

// state is what is known of a lab, in its folder as state.json.
type state struct {
	Name  string  `json:"name"`
	Owner process `json:"owner"`
	// Home is the network namespace the lab was made from, as /proc/PID/ns/net
	// reads. Nothing that lives there is ever killed for living there, should
	// somebody have bound it below the lab's folder.
	Home     string   `json:"home"`
	Detached bool     `json:"detached"`
	Records  []string `json:"records"`
}

// home is read before any thread of this process is elsewhere.
var home, homeErr = os.Readlink("/proc/thread-self/ns/net")

// claim makes the folder of a lab and writes down its owner, after the
// left-overs of dead owners are removed.
func claim(dir string, s state) error {
	return locked(func() error {
		old, err := readState(dir)
		if err == nil && old.Owner.alive() {
			return fmt.Errorf("there is a lab %s already, owned by process %d (%s); remove it with `atoll-lab down %s`, end that process, or choose another name",
				s.Name, old.Owner.PID, commandOf(old.Owner.PID), s.Name)
		}
		if err := dismantle(dir); err != nil {
			return err
		}
		if _, err := cleanStale(); err != nil {
			// Another name's left-over is not in our way.
			slog.Warn("Cannot remove the left-overs of a dead lab", "err", err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make the folder of lab %s: %w", s.Name, err)
		}
		return writeState(dir, s)
	})
}

// takeOver makes this process the owner of a detached lab.
func takeOver(dir string) error {
	me, err := self()
	if err != nil {
		return err
	}
	return locked(func() error {
		s, err := readState(dir)
		if err != nil {
			return err
		}
		s.Owner = me
		if err := writeState(dir, s); err != nil {
			return err
		}
		return record(dir, me)
	})
}

// locked runs f while no other process makes or removes a lab. The kernel
// takes the lock from a process that dies.
func locked(f func() error) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(root, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot lock %s: %w", lock.Name(), err)
		}
		return f()
	}
}

func readState(dir string) (state, error) {
	var s state
	data, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("the record of the lab in %s cannot be read: %w", dir, err)
	}
	return s, nil
}

// writeState replaces the record in one step: a reader finds the old or the new.
func writeState(dir string, s state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return statefile.Replace(filepath.Join(dir, "state.json"), data, 0o644)
}
