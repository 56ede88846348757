package sandbox_test

import (
	"runtime"

	"github.com/vishvananda/netns"
)

// within runs f on a thread in a network namespace. It is to be called in a
// goroutine of its own.
func within(path string, f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer home.Close()
	target, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer target.Close()
	if err := netns.Set(target); err != nil {
		return err
	}
	err = f()
	if netns.Set(home) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
