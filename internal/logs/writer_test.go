package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const app = "ap-1"

func newWriter(t *testing.T, dir, label string) *Writer {
	t.Helper()
	w, err := NewWriter(dir, app, label, true)
	must(t, err)
	t.Cleanup(func() { w.Close() })
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tail(t *testing.T, dir string, n int) []string {
	t.Helper()
	lines, err := NewStore(dir).Tail(app, n, Filter{})
	must(t, err)
	var out []string
	for _, l := range lines {
		out = append(out, l.Label+" "+l.Text)
	}
	return out
}

func TestCopySplitsLines(t *testing.T) {
	dir := t.TempDir()
	w := newWriter(t, dir, "web-1")
	long := strings.Repeat("x", MaxLine)
	must(t, w.Copy(strings.NewReader("one\r\n\n"+long+"\n"+long+"tail\nno newline")))
	got := tail(t, dir, 100)
	want := []string{"web-1 one", "web-1 ", "web-1 " + long, "web-1 " + long, "web-1 tail", "web-1 no newline"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d lines %.200q, want %d", len(got), got, len(want))
	}
}

func TestLimits(t *testing.T) {
	for name, line := range map[string]int{"lines": 1, "bytes": 10000} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := newWriter(t, dir, "web-1")
			now := time.Date(2026, 1, 1, 12, 0, 30, 0, time.UTC)
			w.now = func() time.Time { return now }
			text := []byte(strings.Repeat("x", line))
			want := min(LinesPerMinute, BytesPerMinute/line)
			for range want + 100 {
				w.Line(text)
			}
			got := tail(t, dir, 1<<20)
			if len(got) != want+1 || !strings.Contains(got[want], "log limit reached") {
				t.Fatalf("%d lines, the last %.100q; want %d and one that tells", len(got), got[len(got)-1], want)
			}
			now = now.Add(30 * time.Second) // the next minute of the clock
			w.Line([]byte("again"))
			if got := tail(t, dir, 1); got[0] != "web-1 again" {
				t.Errorf("the next minute begins with %q", got)
			}
		})
	}
}

func TestPlatformHasNoLimit(t *testing.T) {
	dir := t.TempDir()
	s := NewStore(dir)
	t.Cleanup(func() { s.Close() })
	for range LinesPerMinute + 1 {
		must(t, s.Platform(app, "router", "x"))
	}
	must(t, s.Platform(app, "router", "two\nlines\n"))
	if got := tail(t, dir, 3); fmt.Sprint(got) != "[router x router two router lines]" {
		t.Errorf("the log ends %q", got)
	}
	if err := s.Platform("../x", "router", "x"); err == nil {
		t.Error("an app id with a path was accepted")
	}
	if err := s.Platform(app, "a b", "x"); err == nil {
		t.Error("a label with a space was accepted")
	}
}

func TestAContainersLinesHaveALimit(t *testing.T) {
	s := NewStore(t.TempDir())
	t.Cleanup(func() { s.Close() })
	w, err := s.Container(app, "postdeploy-1")
	must(t, err)
	// Perhaps a minute of the clock begins meanwhile.
	for range 3 * LinesPerMinute {
		w.Line([]byte("x"))
	}
	must(t, w.Close())
	lines, err := s.Tail(app, 4*LinesPerMinute, Filter{})
	must(t, err)
	if len(lines) > 2*(LinesPerMinute+1) {
		t.Errorf("%d lines were written", len(lines))
	}
}

// TestManyWritersRotate has several processes' worth of writers rotate under
// each other; no line may be lost or torn.
func TestManyWritersRotate(t *testing.T) {
	dir := t.TempDir()
	const writers, lines = 4, 3000
	var all sync.WaitGroup
	for n := range writers {
		w := newWriter(t, dir, fmt.Sprintf("web-%d", n+1))
		w.rotate, w.quota = 20_000, quota{}
		all.Go(func() {
			for i := range lines {
				w.Line(fmt.Appendf(nil, "line %d", i))
			}
		})
	}
	all.Wait()
	paths, err := files(filepath.Join(dir, app))
	must(t, err)
	if len(paths) < 10 {
		t.Errorf("only %d files: it was not rotated", len(paths))
	}
	next := map[string]int{}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		must(t, err)
		for line := range strings.Lines(string(text)) {
			l, err := ParseLine(strings.TrimSuffix(line, "\n"))
			must(t, err)
			if want := fmt.Sprintf("line %d", next[l.Label]); l.Text != want {
				t.Fatalf("%s: %s has %q, want %q", p, l.Label, l.Text, want)
			}
			next[l.Label]++
		}
	}
	for label, n := range next {
		if n != lines {
			t.Errorf("%s has %d lines, want %d", label, n, lines)
		}
	}
}

func TestDeletedLogStaysDeleted(t *testing.T) {
	dir := t.TempDir()
	s := NewStore(dir)
	w := newWriter(t, dir, "web-1")
	w.Line([]byte("one"))
	must(t, s.Platform(app, "router", "two"))
	must(t, s.Delete(app))
	must(t, s.Delete(app))
	w.Line([]byte("last words"))
	if _, err := os.Stat(filepath.Join(dir, app)); !os.IsNotExist(err) {
		t.Errorf("the folder is back: %v", err)
	}
	if got := tail(t, dir, 10); len(got) > 0 {
		t.Errorf("the log has %q", got)
	}
}

// TestDiskFull fills a file system of its own.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a small file system")
	}
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	w := newWriter(t, dir, "web-1")
	text := []byte(strings.Repeat("x", 3000))
	for range 40 {
		w.Line(text) // never blocks, never fails
	}
	filler := tail(t, dir, 100)
	if len(filler) == 0 || len(filler) >= 40 {
		t.Fatalf("%d of 40 lines fit", len(filler))
	}
	must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=1m"))
	w.Line([]byte("again"))
	got := tail(t, dir, 2)
	if want := fmt.Sprintf("web-1 %d lines of the log are lost", 40-len(filler)); len(got) != 2 || !strings.HasPrefix(got[0], want) || got[1] != "web-1 again" {
		t.Errorf("the log ends %.200q, want %q and the line", got, want)
	}
}
