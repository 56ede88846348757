package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Store is the folder with the logs of all apps. It is safe for concurrent
// use.
type Store struct {
	dir string

	mu      sync.Mutex
	writers map[string]*Writer // of the platform's own lines, by app and label
}

// NewStore returns the store in dir; the folder is made when it is needed.
func NewStore(dir string) *Store {
	return &Store{dir: dir, writers: map[string]*Writer{}}
}

// Dir is the folder, for the writers of containers.
func (s *Store) Dir() string { return s.dir }

// Container returns a writer for the lines of one container, with the limits
// of containers. The caller closes it.
func (s *Store) Container(appID, label string) (*Writer, error) {
	return NewWriter(s.dir, appID, label, true)
}

// Platform appends a line of the platform itself. Its labels are few
// ("router"): a writer for each is kept.
func (s *Store) Platform(appID, label, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := appID + "/" + label
	w := s.writers[key]
	if w == nil {
		var err error
		if w, err = NewWriter(s.dir, appID, label, false); err != nil {
			return err
		}
		s.writers[key] = w
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		w.Line([]byte(line))
	}
	return nil
}

// Delete removes the log of an app with its archives. A log that is not
// there is no error.
func (s *Store) Delete(appID string) error {
	folder, err := appDir(s.dir, appID)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, w := range s.writers {
		if strings.HasPrefix(key, appID+"/") {
			err = errors.Join(err, w.Close())
			delete(s.writers, key)
		}
	}
	if removeErr := os.RemoveAll(folder); removeErr != nil {
		err = errors.Join(err, fmt.Errorf("cannot delete the log of %s: %w", appID, removeErr))
	}
	return err
}

// Close closes the platform's own writers.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for key, w := range s.writers {
		errs = append(errs, w.Close())
		delete(s.writers, key)
	}
	return errors.Join(errs...)
}

// Private

// appDir is the folder of an app's log.
func appDir(dir, appID string) (string, error) {
	if !validLabel(appID) {
		return "", fmt.Errorf("%q is no app id", appID)
	}
	return filepath.Join(dir, appID), nil
}

// files are the paths of a log, oldest first: archives, then the live log.
// Those that were compressed since are left out.
func files(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the log: %w", err)
	}
	var archives []string
	live := false
	for _, e := range entries {
		switch {
		case e.Name() == currentName:
			live = true
		case strings.HasSuffix(e.Name(), archiveExt):
			archives = append(archives, filepath.Join(folder, e.Name()))
		}
	}
	slices.Sort(archives)
	if live {
		archives = append(archives, filepath.Join(folder, currentName))
	}
	return archives, nil
}
