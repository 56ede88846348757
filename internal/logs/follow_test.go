package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTail(t *testing.T) {
	dir := t.TempDir()
	s := NewStore(dir)
	if lines, err := s.Tail(app, 10, Filter{}); err != nil || len(lines) > 0 {
		t.Fatalf("no log: %v, %v", lines, err)
	}
	w, other := newWriter(t, dir, "web-1"), newWriter(t, dir, "worker-1")
	w.quota, other.quota = quota{}, quota{}
	text := strings.Repeat("é", 700) // so that lines lie over the borders of blocks
	const n = 1000
	for i := range n {
		w.Line(fmt.Appendf(nil, "%d %s", i, text))
		if i%100 == 0 {
			other.Line(fmt.Appendf(nil, "%d", i))
		}
		if i == n/2 {
			w.archive()
		}
	}
	check := func(filter string, count, first int) {
		t.Helper()
		f, err := ParseFilter(filter)
		must(t, err)
		lines, err := s.Tail(app, count, f)
		must(t, err)
		if len(lines) != count {
			t.Fatalf("filter %q: %d lines, want %d", filter, len(lines), count)
		}
		if got := lines[0].Text; !strings.HasPrefix(got+" ", fmt.Sprintf("%d ", first)) {
			t.Errorf("filter %q: %d lines begin with %.10q, want %d", filter, count, got, first)
		}
		if got := lines[count-1].Text; filter == "web" && !strings.HasPrefix(got, fmt.Sprintf("%d ", n-1)) {
			t.Errorf("filter %q ends with %.10q", filter, got)
		}
	}
	check("web", 1, n-1)
	check("web", 100, n-100)
	check("web", n-10, 10) // from the archive too
	check("worker", 3, 700)
	check("worker", 10, 0)
	check("web|worker", 2, n-2)

	// A line that is not complete is not one yet.
	f, err := os.OpenFile(filepath.Join(dir, app, currentName), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteString("2026-03-04 04:06:07.008000000 +0000 UTC [web-1] half")
	must(t, err)
	check("web", 1, n-1)
}

// follow collects lines until its end.
func follow(t *testing.T, s *Store, filter Filter) (lines chan string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	lines = make(chan string, 1<<16)
	done := make(chan error, 1)
	go func() {
		done <- s.Follow(ctx, app, filter, func(l Line) error {
			lines <- l.Text
			return nil
		})
	}()
	t.Cleanup(cancel)
	return lines, func() error { cancel(); return <-done }
}

func next(t *testing.T, lines chan string) string {
	t.Helper()
	select {
	case l := <-lines:
		return l
	case <-time.After(30 * time.Second):
		t.Fatal("no line came")
		return ""
	}
}

// settle writes marks until one arrives: from then on everything is followed.
func settle(t *testing.T, w *Writer, lines chan string) {
	t.Helper()
	for range 1000 {
		w.Line([]byte("mark"))
		select {
		case l := <-lines:
			if l != "mark" {
				t.Fatalf("line %q came from before the start", l)
			}
			for { // the marks that were on their way
				select {
				case <-lines:
				case <-time.After(10 * pollTime):
					return
				}
			}
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("nothing arrives")
}

func TestFollowOverRotations(t *testing.T) {
	dir := t.TempDir()
	s := NewStore(dir)
	w := newWriter(t, dir, "web-1")
	w.Line([]byte("from before the start"))
	lines, stop := follow(t, s, Filter{items: []string{"web"}})
	settle(t, w, lines)
	w.quota, w.rotate = quota{}, 10_000
	other := newWriter(t, dir, "worker-1")
	const n = 2000 // many rotations between two looks
	for i := range n {
		w.Line(fmt.Appendf(nil, "line %d", i))
		if i%50 == 0 {
			other.Line([]byte("not for us"))
		}
	}
	for i := range n {
		if got, want := next(t, lines), fmt.Sprintf("line %d", i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	must(t, stop())
}

func TestFollowWaitsForTheLog(t *testing.T) {
	dir := t.TempDir()
	s := NewStore(dir)
	lines, stop := follow(t, s, Filter{})
	w := newWriter(t, dir, "web-1")
	settle(t, w, lines)
	must(t, s.Delete(app))
	again := newWriter(t, dir, "web-2")
	settle(t, again, lines)
	must(t, stop())
	reason := errors.New("the client is gone")
	w2 := newWriter(t, dir, "web-3")
	done := make(chan error, 1)
	go func() {
		done <- s.Follow(context.Background(), app, Filter{}, func(Line) error { return reason })
	}()
	for {
		w2.Line([]byte("x"))
		select {
		case err := <-done:
			if !errors.Is(err, reason) {
				t.Errorf("error %v, want %v", err, reason)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
