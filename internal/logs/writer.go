package logs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of logs (LG-5, LG-6).
const (
	// MaxLine is the longest text of a line; longer ones are split.
	MaxLine = 16 << 10
	// LinesPerMinute and BytesPerMinute are what a container may write in a
	// minute of the clock.
	LinesPerMinute = 16384
	BytesPerMinute = 64 << 20
	// RotateSize is when the live log becomes an archive.
	RotateSize = 50 << 20
)

const (
	currentName   = "current.log"
	archiveFormat = "20060102T150405.000000000Z"
	archiveExt    = ".log"
)

// Writer appends the lines of one label to the log of one app. It is safe
// for concurrent use.
type Writer struct {
	path  string
	label string

	mu    sync.Mutex
	file  *os.File
	quota quota
	// lost counts lines that could not be written, torn is set when the file
	// may end in a part of a line.
	lost   int
	torn   bool
	rotate int64
	now    func() time.Time
}

// NewWriter returns a writer for lines with a label in the log of an app. It
// opens nothing yet: that happens with each line for as long as it fails.
// limited applies the limits of containers.
func NewWriter(dir, appID, label string, limited bool) (*Writer, error) {
	folder, err := appDir(dir, appID)
	if err != nil {
		return nil, err
	}
	if !validLabel(label) {
		return nil, fmt.Errorf("%q is no label for a log: use letters, digits and hyphens", label)
	}
	w := &Writer{path: filepath.Join(folder, currentName), label: label, rotate: RotateSize, now: time.Now}
	if limited {
		w.quota = quota{lines: LinesPerMinute, bytes: BytesPerMinute}
	}
	// Only here: a log that was deleted with its app does not come back
	// because a container of it says its last words.
	if err := os.MkdirAll(folder, 0o750); err != nil && !errors.Is(err, unix.ENOSPC) {
		return nil, fmt.Errorf("cannot make the folder of the log: %w", err)
	}
	return w, nil
}

// Line writes one line. It never fails; see the package's guarantees.
func (w *Writer) Line(text []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	pass, first := w.quota.take(now, len(text))
	if first {
		w.append(encode(now, w.label, fmt.Appendf(nil,
			"log limit reached (%d lines or %d MiB a minute): lines are dropped until the next minute", LinesPerMinute, BytesPerMinute>>20)))
	}
	if !pass {
		return
	}
	if w.lost > 0 {
		note := fmt.Appendf(nil, "%d lines of the log are lost: they could not be written", w.lost)
		if !w.append(encode(now, w.label, note)) {
			w.lost++
			return
		}
		w.lost = 0
	}
	if !w.append(encode(now, w.label, text)) {
		w.lost++
	}
}

// Copy writes everything from r, line by line, until its end.
func (w *Writer) Copy(r io.Reader) error {
	lines := bufio.NewReaderSize(r, MaxLine)
	split := false // the former line was cut at MaxLine
	for {
		text, err := lines.ReadSlice('\n')
		switch {
		case err == nil:
			if len(text) > 1 || !split { // else it was exactly MaxLine long
				w.Line(text[:len(text)-1])
			}
			split = false
		case errors.Is(err, bufio.ErrBufferFull):
			w.Line(text)
			split = true
		default:
			if len(text) > 0 {
				w.Line(text)
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// Close closes the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}

// Private

// append writes a whole line and reports whether it is in the file.
func (w *Writer) append(line []byte) bool {
	if !w.open() {
		return false
	}
	if w.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.file.Write(line)
	if err != nil {
		w.torn = w.torn || n > 0
		return false
	}
	w.torn = false
	if info, err := w.file.Stat(); err == nil && info.Size() >= w.rotate {
		w.archive()
	}
	return true
}

// open makes sure that w.file is the live log: another writer may have
// rotated it.
func (w *Writer) open() bool {
	if w.file != nil && sameFile(w.file, w.path) {
		return true
	}
	if w.file != nil {
		w.file.Close()
		w.file, w.torn = nil, false
	}
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return false
	}
	w.file = f
	return true
}

// archive renames the live log. The lock is on the file itself: the writer
// that comes second finds that it is not the live log any more.
func (w *Writer) archive() {
	if err := unix.Flock(int(w.file.Fd()), unix.LOCK_EX); err != nil {
		return
	}
	if sameFile(w.file, w.path) {
		name := w.now().UTC().Format(archiveFormat) + archiveExt
		_ = os.Rename(w.path, filepath.Join(filepath.Dir(w.path), name)) // else it grows until it works
	}
	w.file.Close() // gives the lock back
	w.file = nil
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// quota counts what is written in a minute; the zero quota has no limits.
type quota struct {
	lines, bytes int

	minute              time.Time
	usedLines, usedSize int
	over                bool
}

// take asks for a line. first is true for the first one refused in a minute.
func (q *quota) take(now time.Time, size int) (pass, first bool) {
	if q.lines == 0 {
		return true, false
	}
	if minute := now.Truncate(time.Minute); !minute.Equal(q.minute) {
		q.minute, q.usedLines, q.usedSize, q.over = minute, 0, 0, false
	}
	if q.over {
		return false, false
	}
	if q.usedLines+1 > q.lines || q.usedSize+size > q.bytes {
		q.over = true
		return false, true
	}
	q.usedLines++
	q.usedSize += size
	return true, false
}
