package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"

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
	if err := removeNamespace(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("cannot make the network namespace %s: %w", path, err)
	}
	f.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		err = fill(path)
		// A thread that cannot come back stays locked and ends here.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("cannot make the network namespace %s: %w", path, err)
	}
	return nil
}

// fill moves the thread into a new namespace, prepares and binds it.
func fill(path string) error {
	ns, err := netns.New()
	if err != nil {
		return err
	}
	defer ns.Close()
	for _, s := range settings {
		if err := os.WriteFile("/proc/sys/"+s.path, []byte(s.value), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
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
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
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
