package oneoff

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/oneoff/oneofftest"
	"github.com/atollhq/atoll/internal/platform"
)

// nest makes folders in folders, deeper than any path, and a few beside them.
func nest(t *testing.T, dir string, depth int) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	must(t, err)
	for n := range depth {
		must(t, unix.Mkdirat(at, "folder", 0o755))
		if n%100 == 0 {
			must(t, unix.Mkdirat(at, "beside", 0))
			must(t, unix.Symlinkat("/etc", at, "link"))
		}
		next, err := unix.Openat(at, "folder", unix.O_DIRECTORY|unix.O_RDONLY, 0)
		must(t, err)
		must(t, unix.Close(at))
		at = next
	}
	must(t, unix.Close(at))
}

// runWithUploads runs a one-off that does something with its uploads.
func (f *fixture) runWithUploads(spoil func(dir string)) {
	f.t.Helper()
	f.engine.Program = func(_ context.Context, p oneofftest.Process) int {
		if len(p.Mounts) > 0 {
			spoil(p.Mounts[0].Source)
		}
		return 0
	}
	o := f.start(platform.OneOff{Command: "x"}, Attached{})
	must(f.t, f.AddFile(f.t.Context(), o.ID, "f", strings.NewReader("x")))
	_, err := f.Claim(f.t.Context(), o.ID)
	must(f.t, err)
	_, err = f.Serve(f.t.Context(), o.ID, strings.NewReader(""), io.Discard)
	must(f.t, err)
}

// wantNothingLeft waits until the trash is empty.
func (f *fixture) wantNothingLeft() {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		entries, err := os.ReadDir(f.trash())
		must(f.t, err)
		if len(entries) == 0 {
			break
		}
		if time.Now().After(end) {
			f.t.Fatalf("left in the trash: %v", entries)
		}
	}
	entries, err := os.ReadDir(f.Dir)
	must(f.t, err)
	if len(entries) != 1 {
		f.t.Errorf("left beside the trash: %v", entries)
	}
}

func TestDeepUploadsAreRemovedWithFewDescriptors(t *testing.T) {
	f := newFixture(t)
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	few := limit
	few.Cur = 256
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	f.runWithUploads(func(dir string) { nest(t, dir, 1000) })
	f.wantNothingLeft()
	if _, err := os.Stat("/etc/passwd"); err != nil {
		t.Error("a link was followed")
	}
}

func TestManyUploadsKeepNobodyWaiting(t *testing.T) {
	f := newFixture(t)
	f.close() // nobody empties the trash
	const files = 300
	must(t, os.Mkdir(f.uploads("over"), 0o755))
	for n := range files {
		must(t, os.WriteFile(filepath.Join(f.uploads("over"), fmt.Sprint(n)), nil, 0o644))
	}
	must(t, f.discard("over"))
	left, err := filepath.Glob(f.trash("*", "*"))
	must(t, err)
	if len(left) != files {
		t.Errorf("%d of %d files are left for later", len(left), files)
	}
	dir := f.Dir
	f.open(func(c *Config) { c.Dir = dir })
	f.wantNothingLeft()
}

func TestTheNextStartRemovesWhatIsLeftAndStartsAnyway(t *testing.T) {
	f := newFixture(t)
	f.close()
	nest(t, f.trash(), 300)
	must(t, os.Mkdir(f.uploads("over"), 0o755))
	nest(t, f.uploads("over"), 300)
	reopen := func() {
		t.Helper()
		dir := f.Dir
		f.open(func(c *Config) { c.Dir = dir })
	}
	reopen()
	f.wantNothingLeft()

	// A disk that refuses is no reason not to serve.
	f.close()
	must(t, os.Mkdir(f.uploads("over"), 0o755))
	s, err := New(f.Config)
	must(t, err)
	must(t, os.Remove(s.trash()))
	must(t, os.WriteFile(s.trash(), nil, 0o644))
	must(t, s.Recover(t.Context()))
}
