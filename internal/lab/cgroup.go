package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func cgroupParent(name string) string { return "/atoll-lab-" + name }

// inCgroup tells whether /proc/PID/cgroup (cgroups(7)) has the group, or one
// below it, in any hierarchy.
func inCgroup(file, group string) bool {
	for line := range strings.Lines(file) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) == 3 && (fields[2] == group || strings.HasPrefix(fields[2], group+"/")) {
			return true
		}
	}
	return false
}

// cgroupFolders is the group in every hierarchy that is mounted and has it.
func cgroupFolders(group string) ([]string, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, m := range mounts {
		if m.fstype != "cgroup" && m.fstype != "cgroup2" {
			continue
		}
		dir := filepath.Join(m.point, group)
		if _, err := os.Stat(dir); err == nil && !slices.Contains(found, dir) {
			found = append(found, dir)
		}
	}
	return found, nil
}

// thaw lets frozen processes run, because a frozen one cannot die (v1).
func thaw(folders []string) error {
	return eachGroup(folders, func(dir string) error {
		for file, value := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
			path := filepath.Join(dir, file)
			if _, err := os.Stat(path); err != nil {
				continue
			}
			if err := os.WriteFile(path, []byte(value), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot thaw control group %s: %w", dir, err)
			}
		}
		return nil
	})
}

// removeCgroups removes empty groups. The kernel may need a moment after the
// last process ended.
func removeCgroups(folders []string) error {
	return retry(func() error {
		return eachGroup(folders, func(dir string) error {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot remove control group: %w", err)
			}
			return nil
		})
	})
}

// eachGroup calls f for the folders and all groups below, the deepest first.
func eachGroup(folders []string, f func(dir string) error) error {
	var dirs []string
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	var failures []error
	for _, dir := range slices.Backward(dirs) {
		failures = append(failures, f(dir))
	}
	return errors.Join(failures...)
}
