package privnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The switch namespace has no addresses, so its stack has nothing to say;
// these make sure that it stays silent.
var switchSysctls = []struct{ key, value string }{
	{"net/ipv6/conf/all/disable_ipv6", "1"},
	{"net/ipv6/conf/default/disable_ipv6", "1"},
	{"net/ipv4/ip_forward", "0"},
	{"net/ipv4/conf/all/forwarding", "0"},
	{"net/ipv4/conf/default/forwarding", "0"},
}

// openNamespace opens the network namespace bound at path, making and binding
// one where there is none.
func openNamespace(path string) (netns.NsHandle, error) {
	bound, err := isNamespace(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return netns.None(), fmt.Errorf("cannot look at the switch namespace: %w", err)
	}
	if !bound {
		if err := makeNamespace(path); err != nil {
			return netns.None(), fmt.Errorf("cannot make the switch namespace: %w", err)
		}
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return netns.None(), fmt.Errorf("cannot open the switch namespace: %w", err)
	}
	if err := inNamespace(ns, silence); err != nil {
		ns.Close()
		return netns.None(), fmt.Errorf("cannot silence the switch namespace: %w", err)
	}
	return ns, nil
}

// makeNamespace makes a network namespace and binds it at path. The binding
// comes last: what is bound is complete.
func makeNamespace(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	file.Close()

	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot make a network namespace: %w", err)
		}
		if err := silence(); err != nil {
			return err
		}
		self := fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		if err := unix.Mount(self, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cannot bind it at %s: %w", path, err)
		}
		return nil
	})
}

// silence sets the sysctls of the switch namespace in the thread's namespace.
func silence() error {
	for _, s := range switchSysctls {
		if err := writeSysctl(s.key, s.value); err != nil {
			return err
		}
	}
	return nil
}

// removeNamespace unbinds the namespace at path and removes the file. The
// kernel frees it, and what is in it, when its last user is gone.
func removeNamespace(path string) error {
	bound, err := isNamespace(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if bound {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("cannot unbind %s: %w", path, err)
		}
	}
	return os.Remove(path)
}

func isNamespace(path string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return false, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return fs.Type == unix.NSFS_MAGIC, nil
}

// inNamespace runs f on a thread that is in the namespace. Links are reached
// through handles instead; this is for what has no handle, such as sysctls.
func inNamespace(ns netns.NsHandle, f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("cannot enter the network namespace: %w", err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread that nobody else uses meanwhile, so that f
// may change the thread's network namespace.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- fmt.Errorf("cannot tell the present network namespace: %w", err)
			return
		}
		defer home.Close()
		err = f()
		// A thread that cannot come back stays locked and ends with the
		// goroutine. That alone would not do: the process's first thread never
		// ends, and would stay in the other namespace.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// handleAt opens a netlink handle in a namespace. Only the route family:
// asking for every family fails where one of them is not in the kernel.
func handleAt(ns netns.NsHandle) (*netlink.Handle, error) {
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open a netlink socket: %w", err)
	}
	return handle, nil
}

// dump reads a list from the kernel, again when it changed meanwhile: a
// container may end, and take its interface along, at any time.
func dump[T any](read func() ([]T, error)) (all []T, err error) {
	for range 20 {
		if all, err = read(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// writeSysctl sets a network sysctl of the thread's namespace. Those of IPv6
// are skipped where the kernel has none.
func writeSysctl(key, value string) error {
	path := filepath.Join("/proc/sys", key)
	if current, err := os.ReadFile(path); err == nil && string(current) == value+"\n" {
		return nil
	}
	err := os.WriteFile(path, []byte(value), 0o644)
	if errors.Is(err, os.ErrNotExist) && !haveIPv6() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot set sysctl %s to %s: %w", key, value, err)
	}
	return nil
}

func haveIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}
