// Package statefile writes small files of the run folder: notes that a process
// leaves for the one after it.
package statefile

import (
	"fmt"
	"os"
)

// Replace makes text the content of the file at path. Whoever reads it, also
// after a kill in between, finds the former content or the new one. Two
// Replace at a time of one path are not allowed.
//
// It does not wait for the disk: after a loss of power nothing runs that the
// run folder tells of.
func Replace(path string, text []byte, mode os.FileMode) error {
	// A fixed name, so that a kill leaves one file at most, which the next
	// Replace overwrites.
	fresh := path + ".new"
	if err := os.WriteFile(fresh, text, mode); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("cannot replace %s: %w", path, err)
	}
	return nil
}
