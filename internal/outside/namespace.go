package outside

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netns"
)

// within runs f on a thread in a network namespace. Programs that f starts
// are there too; goroutines are not.
func within(ns netns.NsHandle, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("cannot tell the present network namespace: %w", err)
			return
		}
		defer home.Close()
		if err := netns.Set(ns); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("cannot enter a network namespace: %w", err)
			return
		}
		err = f()
		// A thread that cannot come back stays locked and ends with this
		// goroutine; one that is back is anybody's again.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// sysctl sets a setting of the thread's network namespace, by its path below
// /proc/sys.
func sysctl(name, value string) error {
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
		return fmt.Errorf("cannot set %s to %s: %w", name, value, err)
	}
	return nil
}

// withoutIPv6 switches IPv6 off on an interface of the thread's namespace; a
// kernel without IPv6 has nothing to switch off.
func withoutIPv6(name string) error {
	err := sysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
