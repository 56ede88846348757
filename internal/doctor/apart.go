package doctor

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// apart runs f on a thread in new namespaces, which end with the thread: it
// stays locked and is thrown away. The first thread of the process is never
// used, for it cannot end before the process does. Programs that f starts are
// in the namespaces too.
func apart(flags int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			done <- apart(flags, f) // on another thread, as this one is held
			runtime.UnlockOSThread()
			return
		}
		if err := unix.Unshare(flags); err != nil {
			done <- fmt.Errorf("cannot make a namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}
