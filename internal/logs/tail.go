package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Tail returns the last n lines that pass the filter, oldest first, from the
// live log and, when that has not enough, the newest archive. An app without
// a log has no lines.
func (s *Store) Tail(appID string, n int, filter Filter) ([]Line, error) {
	folder, err := appDir(s.dir, appID)
	if err != nil {
		return nil, err
	}
	paths, err := files(folder)
	if err != nil {
		return nil, err
	}
	var newest []Line
	for i := len(paths) - 1; i >= max(0, len(paths)-2) && len(newest) < n; i-- {
		err := backwards(paths[i], func(text []byte) bool {
			if l, err := ParseLine(string(text)); err == nil && filter.Match(l.Label) {
				newest = append(newest, l)
			}
			return len(newest) < n
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) { // rotated or deleted meanwhile
			return nil, fmt.Errorf("cannot read the log of %s: %w", appID, err)
		}
	}
	slices.Reverse(newest)
	return newest, nil
}

// Private

const blockSize = 64 << 10

// backwards calls use with each line of a file, last one first, until it
// returns false. What stands behind the last newline is not a line yet.
func backwards(path string, use func(text []byte) bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var rest []byte // from end on, up to the newline of the line it ends in
	complete := false
	for end > 0 {
		start := max(0, end-blockSize)
		block := make([]byte, end-start, int(end-start)+len(rest))
		if _, err := f.ReadAt(block, start); err != nil {
			return err
		}
		block = append(block, rest...)
		if !complete {
			last := bytes.LastIndexByte(block, '\n')
			if last < 0 {
				end, rest = start, block
				continue
			}
			block, complete = block[:last], true
		}
		for {
			i := bytes.LastIndexByte(block, '\n')
			if i < 0 {
				break
			}
			if !use(block[i+1:]) {
				return nil
			}
			block = block[:i]
		}
		end, rest = start, block
	}
	if complete {
		use(rest)
	}
	return nil
}
