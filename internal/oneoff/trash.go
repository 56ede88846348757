package oneoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/atollhq/atoll/internal/platform"
)

// A container may make of its uploads what it likes: a million files, or
// folders so deep that no path leads to the bottom. Removing them takes long,
// and must neither keep others waiting nor use up the server's descriptors. So
// they are moved aside at once and removed by a goroutine of its own, which
// never goes deeper than two folders: what is deeper it moves up first.

// trashName is the folder of what is to be removed, in the one of uploads. No
// one-off has such an id.
const trashName = "trash"

func (s *Service) trash(parts ...string) string {
	return filepath.Join(append([]string{s.Dir, trashName}, parts...)...)
}

// discard has the uploads of a one-off removed. Without any it does nothing.
func (s *Service) discard(id string) error {
	err := os.Rename(s.uploads(id), s.trash(platform.NewID()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot remove uploaded files: %w", err)
	}
	select {
	case s.littered <- struct{}{}:
	default:
	}
	return nil
}

// sweep discards uploads of one-offs that are over. What it cannot discard is
// there at the next start again, and no reason not to start.
func (s *Service) sweep() {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		s.Log.Error("Cannot list uploaded files", "error", err)
	}
	for _, e := range entries {
		if e.Name() == trashName || s.live[e.Name()] != nil {
			continue
		}
		if err := s.discard(e.Name()); err != nil {
			s.Log.Error("Cannot discard the files of a one-off that is over", "container", e.Name(), "error", err)
		}
	}
}

// clean empties the trash whenever there is something in it, until ctx ends.
func (s *Service) clean(ctx context.Context) {
	for {
		done, err := s.cleanOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case done > 0: // perhaps there is what was moved up
			continue
		case err != nil:
			s.Log.Error("Cannot remove uploaded files; trying again when there are more", "folder", s.trash(), "error", err)
		}
		select {
		case <-s.littered:
		case <-ctx.Done():
			return
		}
	}
}

// cleanOnce goes through the trash. It returns how much it removed or moved
// up, and the last error.
func (s *Service) cleanOnce(ctx context.Context) (done int, failure error) {
	err := eachName(ctx, s.trash(), func(name string) {
		n, err := s.removeTrash(ctx, name)
		done += n
		if err != nil {
			failure = err
		}
	})
	return done, errors.Join(err, failure)
}

// removeTrash removes one entry of the trash, and moves the folders in it that
// are not empty up into the trash.
func (s *Service) removeTrash(ctx context.Context, name string) (done int, failure error) {
	count := func(err error) {
		if err != nil {
			failure = err
			return
		}
		done++
	}
	err := os.Remove(s.trash(name))
	if !errors.Is(err, fs.ErrExist) { // ENOTEMPTY: it is a folder, and no link to one
		count(err)
		return done, failure
	}
	err = eachName(ctx, s.trash(name), func(child string) {
		err := os.Remove(s.trash(name, child))
		if errors.Is(err, fs.ErrExist) {
			err = os.Rename(s.trash(name, child), s.trash(platform.NewID()))
		}
		count(err)
	})
	if err == nil && failure == nil {
		count(os.Remove(s.trash(name)))
	}
	return done, errors.Join(err, failure)
}

// eachName calls fn with the names in a folder, of which there may be too many
// to hold.
func eachName(ctx context.Context, path string, fn func(name string)) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	for ctx.Err() == nil {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			fn(name)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}
