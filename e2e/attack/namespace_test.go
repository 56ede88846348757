package attack

import (
	"fmt"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
)

// inside runs f on a thread in a network namespace. Sockets that f opens stay
// there. A thread that cannot return ends with its goroutine.
func inside(t testing.TB, path string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- enter(path, f) }()
	if err := <-done; err != nil {
		t.Fatalf("in %s: %v", path, err)
	}
}

func enter(path string, f func() error) error {
	target, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer target.Close()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer home.Close()
	if err := netns.Set(target); err != nil {
		return err
	}
	err = f()
	if back := netns.Set(home); back != nil {
		return fmt.Errorf("cannot return to the namespace of the tests: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

// script runs a shell's lines in a network namespace.
func script(t testing.TB, path, lines string) string {
	t.Helper()
	out, err := exec.Command("nsenter", "--net="+path, "sh", "-ec", lines).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", lines, err, out)
	}
	return string(out)
}
