package namespace

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Do runs f on a thread in a network namespace, and returns its error.
func Do(ns netns.NsHandle, f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("cannot enter the network namespace: %w", err)
		}
		return f()
	})
}

// DoAt is Do in the namespace at path, which may be of a process:
// /proc/PID/ns/net.
func DoAt(path string, f func() error) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("cannot open the network namespace %s: %w", path, err)
	}
	defer ns.Close()
	return Do(ns, f)
}

// DoNew is Do in a new network namespace, which ends when nothing holds it any
// more: no socket, no process, no binding.
func DoNew(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot make a network namespace: %w; "+hint, err)
		}
		return f()
	})
}

// Apart runs f on a thread in new namespaces of any kinds (unix.CLONE_NEW...),
// from some of which no thread can come back: it is thrown away, and the
// namespaces with it. Programs that f starts are in them too.
func Apart(kinds int, f func() error) error {
	return inGoroutine(func() error {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The first thread of a process cannot end before the process
			// does. While it is held, another one is taken.
			defer runtime.UnlockOSThread()
			return Apart(kinds, f)
		}
		if err := unix.Unshare(kinds); err != nil {
			runtime.UnlockOSThread()
			return fmt.Errorf("cannot make a namespace: %w; "+hint, err)
		}
		return f()
	})
}

// Private

// hint is for who has not the right to make namespaces.
const hint = "run this as root, on a machine or VM of its own"

// onOwnThread runs f, which may change the thread's network namespace, on a
// thread that nobody else uses meanwhile, and takes the thread back.
func onOwnThread(f func() error) error {
	return inGoroutine(func() error {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			return fmt.Errorf("cannot tell the present network namespace: %w", err)
		}
		defer func() {
			// A thread that cannot come back stays locked and ends with the
			// goroutine. That alone would not do: the process's first thread
			// never ends, and would stay in the other namespace.
			if netns.Set(home) == nil {
				runtime.UnlockOSThread()
			}
			home.Close()
		}()
		return f()
	})
}

// outcome is how a function ended.
type outcome struct {
	err error
	// exited: by runtime.Goexit.
	exited   bool
	panicked any
	stack    []byte
}

// inGoroutine runs f in a goroutine of its own, and ends as f does: a panic
// there would end the process without giving the caller a chance.
func inGoroutine(f func() error) error {
	done := make(chan outcome, 1)
	go func() {
		out := outcome{exited: true}
		defer func() { done <- out }()
		out = caught(f)
	}()
	out := <-done
	switch {
	case out.panicked != nil:
		panic(fmt.Sprintf("in another namespace: %v\n%s", out.panicked, out.stack))
	case out.exited:
		runtime.Goexit()
	}
	return out.err
}

func caught(f func() error) (out outcome) {
	defer func() {
		if out.panicked = recover(); out.panicked != nil {
			out.stack = debug.Stack()
		}
	}()
	out.err = f()
	return out
}
