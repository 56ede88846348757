package namespace_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/namespace"
)

// made is where a new namespace is bound, until the test ends.
func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ns")
	if err := namespace.Make(path, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := namespace.Unbind(path); err != nil {
			t.Error(err)
		}
	})
	return path
}

// numberOf is the namespace bound at path, as the links in /proc name it.
func numberOf(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return "net:[" + strconv.FormatUint(st.Ino, 10) + "]"
}

func wantBound(t *testing.T, path string, want bool) {
	t.Helper()
	if bound, err := namespace.Bound(path); err != nil || bound != want {
		t.Errorf("bound: %v, %v, want %v", bound, err, want)
	}
}

func TestMake(t *testing.T) {
	lab.NeedRoot(t)
	home := here(t)
	path := filepath.Join(t.TempDir(), "ns")
	wantBound(t, path, false)
	var prepared string
	err := namespace.Make(path, func() error {
		prepared = here(t)
		wantBound(t, path, false) // what is bound is complete
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantBound(t, path, true)
	if bound := numberOf(t, path); bound != prepared || bound == home {
		t.Errorf("%s is bound, %s was prepared", bound, prepared)
	}
	// Twice, as a process may have that died in between.
	ns, err := netns.GetFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := namespace.Bind(ns, path); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := namespace.Unbind(path); err != nil {
			t.Error(err)
		}
		wantBound(t, path, false)
	}
	if err := os.Remove(path); err != nil {
		t.Errorf("the file is not free: %v", err)
	}
	if err := namespace.Unbind(path); err != nil {
		t.Errorf("where there is nothing: %v", err)
	}
	wantHome(t, home)
}

func TestMakeFails(t *testing.T) {
	lab.NeedRoot(t)
	path, wrong := filepath.Join(t.TempDir(), "ns"), errors.New("not prepared")
	if err := namespace.Make(path, func() error { return wrong }); err != wrong {
		t.Errorf("the error is %v", err)
	}
	wantBound(t, path, false)
	if err := namespace.Make(filepath.Join(path, "below"), func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
}

func TestBind(t *testing.T) {
	lab.NeedRoot(t)
	ns, err := netns.GetFromPath(made(t))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	path := filepath.Join(t.TempDir(), "again")
	if err := namespace.Bind(ns, path); err != nil {
		t.Fatal(err)
	}
	defer namespace.Unbind(path)
	wantBound(t, path, true)
	var inside string
	if err := namespace.Do(ns, func() error { inside = here(t); return nil }); err != nil || inside != numberOf(t, path) {
		t.Errorf("%s is bound instead of %s (%v)", numberOf(t, path), inside, err)
	}
}

func TestBoundCannotBeSeen(t *testing.T) {
	if _, err := namespace.Bound("/dev/null/ns"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below something that is no folder: %v", err)
	}
	wantBound(t, os.TempDir(), false)
}
