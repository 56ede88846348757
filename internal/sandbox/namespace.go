package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// settings of a container's namespace. The kernel that has none of IPv6 lacks
// those files; that is fine.
var settings = []struct{ path, value string }{
	{"net/ipv6/conf/all/disable_ipv6", "1"},
	{"net/ipv6/conf/default/disable_ipv6", "1"},
	// Processes are unprivileged and may use any port (PN-14).
	{"net/ipv4/ip_unprivileged_port_start", "0"},
	// Answer and ask for an interface's own addresses only: Linux would
	// answer on eth0 for the address of pn0.
	{"net/ipv4/conf/all/arp_ignore", "1"},
	{"net/ipv4/conf/all/arp_announce", "2"},
	// An address is believed only where the way back to it leads: what says
	// it is of the private network must come by pn0.
	{"net/ipv4/conf/all/rp_filter", "1"},
	{"net/ipv4/conf/default/rp_filter", "1"},
	// Ping without a capability.
	{"net/ipv4/ping_group_range", "0 2147483647"},
}

// makeNamespace makes a network namespace and binds it to path.
func makeNamespace(path string) error {
	if err := prepareBinding(path); err != nil {
		return err
	}
	if err := onOwnThread(func() error { return fill(path) }); err != nil {
		return fmt.Errorf("cannot make the network namespace %s: %w", path, err)
	}
	return nil
}

// bindNamespace binds a namespace that is there, such as /proc/1/ns/net, to
// path.
func bindNamespace(from, path string) error {
	// Opened first: the process may end meanwhile.
	ns, err := netns.GetFromPath(from)
	if err != nil {
		return fmt.Errorf("cannot open the network namespace %s: %w", from, err)
	}
	defer ns.Close()
	if err := prepareBinding(path); err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", int(ns)), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot bind the network namespace %s to %s: %w", from, path, err)
	}
	return nil
}

// prepareBinding makes path an empty file, whatever it is now.
func prepareBinding(path string) error {
	if err := removeNamespace(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return fmt.Errorf("cannot make the folder of network namespaces: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("cannot make the network namespace %s: %w", path, err)
	}
	return f.Close()
}

// onOwnThread runs f on a thread whose network namespace f may change.
func onOwnThread(f func() error) error {
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
		err = f()
		// A thread that cannot come back stays locked and ends here.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// fill moves the thread into a new namespace, prepares and binds it.
func fill(path string) error {
	ns, err := netns.New()
	if err != nil {
		return err
	}
	defer ns.Close()
	if _, err := applySettings(); err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
}

// repairSettings sets what was changed of a bound namespace, and says what.
func repairSettings(path string) (wrong []string, err error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the network namespace %s: %w", path, err)
	}
	defer ns.Close()
	err = onOwnThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("cannot enter it: %w", err)
		}
		wrong, err = applySettings()
		return err
	})
	if err != nil {
		return wrong, fmt.Errorf("cannot repair the network namespace %s: %w", path, err)
	}
	return wrong, nil
}

// applySettings sets what differs in the thread's namespace.
func applySettings() (differed []string, err error) {
	for _, s := range settings {
		text, err := os.ReadFile("/proc/sys/" + s.path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		now := strings.Join(strings.Fields(string(text)), " ")
		if err == nil && now == s.value {
			continue
		}
		if err := os.WriteFile("/proc/sys/"+s.path, []byte(s.value), 0o644); err != nil {
			return differed, err
		}
		differed = append(differed, fmt.Sprintf("%s was %s instead of %s", s.path, now, s.value))
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return differed, err
	}
	if lo.Attrs().Flags&net.FlagUp == 0 {
		differed = append(differed, "lo was down")
		err = netlink.LinkSetUp(lo)
	}
	return differed, err
}

// removeNamespace undoes makeNamespace; what is not there is no error.
func removeNamespace(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot unmount the network namespace %s: %w", path, err)
		}
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("cannot remove the network namespace %s: %w", path, err)
	}
	return nil
}

// isNamespace reports whether path is a bound namespace; after a reboot it is
// an empty file.
func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}
