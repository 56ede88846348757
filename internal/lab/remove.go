package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Remove removes a detached lab, a left-over, or one of this process: its
// processes, control groups, namespaces, mounts and folder. One that belongs to
// another process which lives is an error. No such lab is no error.
func Remove(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("the lab name %q is not 1 to 32 lower-case letters, digits and dashes", name)
	}
	dir := filepath.Join(root, name)
	return locked(func() error {
		s, err := readState(dir)
		if err == nil && !s.Detached && s.Owner.PID != os.Getpid() && s.Owner.alive() {
			return fmt.Errorf("lab %s belongs to process %d (%s), which removes it when it ends", name, s.Owner.PID, commandOf(s.Owner.PID))
		}
		return dismantle(dir)
	})
}

// CleanStale removes the labs whose owners are dead and returns their names.
func CleanStale() ([]string, error) {
	var removed []string
	err := locked(func() error {
		var err error
		removed, err = cleanStale()
		return err
	})
	return removed, err
}

// cleanStale is CleanStale for who holds the lock.
func cleanStale() ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var removed []string
	var failures []error
	for _, e := range entries {
		if !e.IsDir() || !nameForm.MatchString(e.Name()) {
			continue
		}
		dir := filepath.Join(root, e.Name())
		// One without a record was killed before it had made anything else.
		if s, err := readState(dir); err == nil && s.Owner.alive() {
			continue
		}
		if err := dismantle(dir); err != nil {
			failures = append(failures, err)
			continue
		}
		removed = append(removed, e.Name())
	}
	return removed, errors.Join(failures...)
}

// dismantle removes everything of the lab in dir. The folder, which says what
// there is, comes last, so that what fails or is killed in between can be done
// again. The caller holds the lock.
func dismantle(dir string) error {
	name := filepath.Base(dir)
	fail := func(err error) error { return fmt.Errorf("cannot remove lab %s: %w", name, err) }

	groups, err := cgroupFolders(cgroupParent(name))
	if err != nil {
		return fail(err)
	}
	in := inhabitants{cgroup: cgroupParent(name)}
	if in.recorded, err = recorded(dir); err != nil {
		return fail(err)
	}
	// Without a record there is nothing but the folder yet.
	if s, err := readState(dir); err == nil {
		if in.namespaces, err = namespacesBelow(dir, s.Home); err != nil {
			return fail(err)
		}
		defer in.namespaces.close()
	}
	if err := thaw(groups); err != nil {
		return fail(err)
	}
	if err := in.killAll(); err != nil {
		return fail(err)
	}
	if err := removeCgroups(groups); err != nil {
		return fail(err)
	}
	if err := disconnect(at(name, nil).server); err != nil {
		return fail(err)
	}
	if err := unmountBelow(dir); err != nil {
		return fail(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fail(err)
	}
	return nil
}

// patience is how long the kernel may take to end a process or let go of a
// control group before it is an error.
const patience = 20 * time.Second

// retry calls f until it succeeds and returns its last error if it never does.
func retry(f func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}
