package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// pollTime is how often Follow looks for new lines. Looking costs a stat;
// inotify would save that and bring limits per user and races of its own.
const pollTime = 100 * time.Millisecond

// Follow calls use with each line that passes the filter and is written from
// now on, until ctx ends (then it returns nil) or use returns an error. It
// goes on over rotations, and waits for a log that is not there yet.
func (s *Store) Follow(ctx context.Context, appID string, filter Filter, use func(Line) error) error {
	folder, err := appDir(s.dir, appID)
	if err != nil {
		return err
	}
	f := &follower{folder: folder, use: func(text []byte) error {
		if l, err := ParseLine(string(text)); err == nil && filter.Match(l.Label) {
			return use(l)
		}
		return nil
	}}
	defer f.close()
	if err := f.open(filepath.Join(folder, currentName), io.SeekEnd); err != nil {
		return err
	}
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	for {
		if err := f.look(); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Private

type follower struct {
	folder string
	use    func(text []byte) error
	file   *os.File
	part   []byte // of a line whose end is not written yet
	// rotated: the file was not the live log any more at the last look. A
	// writer may just have been writing to it, so it gets one more.
	rotated bool
}

// look passes on what is new.
func (f *follower) look() error {
	if f.file == nil {
		return f.open(filepath.Join(f.folder, currentName), io.SeekStart)
	}
	rotated := !sameFile(f.file, filepath.Join(f.folder, currentName))
	if err := f.read(); err != nil {
		return err
	}
	if !rotated || !f.rotated {
		f.rotated = rotated
		return nil
	}
	next, err := f.next()
	if err != nil {
		return err
	}
	f.close()
	return f.open(next, io.SeekStart)
}

// open opens a file and reads what is in it, when reading starts there. A
// file that is not there yet is no error.
func (f *follower) open(path string, whence int) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot follow the log: %w", err)
	}
	f.file, f.rotated, f.part = file, false, nil
	if _, err := file.Seek(0, whence); err != nil {
		return fmt.Errorf("cannot follow the log: %w", err)
	}
	return f.read()
}

// next is the path of the file that came after the present one.
func (f *follower) next() (string, error) {
	paths, err := files(f.folder)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(paths, func(p string) bool { return sameFile(f.file, p) })
	if i >= 0 && i+1 < len(paths) {
		return paths[i+1], nil
	}
	return filepath.Join(f.folder, currentName), nil
}

func (f *follower) read() error {
	block := make([]byte, blockSize)
	for {
		n, err := f.file.Read(block)
		f.part = append(f.part, block[:n]...)
		for {
			i := bytes.IndexByte(f.part, '\n')
			if i < 0 {
				break
			}
			if err := f.use(f.part[:i]); err != nil {
				return err
			}
			f.part = f.part[i+1:]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot follow the log: %w", err)
		}
	}
}

func (f *follower) close() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}
