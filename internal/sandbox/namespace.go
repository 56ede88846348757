package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/atollhq/atoll/internal/namespace"
)

// settings of a container's namespace. The kernel that has none of IPv6 lacks
// those files; that is fine.
var settings = []struct{ name, value string }{
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
	err := namespace.Make(path, func() error {
		_, err := applySettings()
		return err
	})
	if err != nil {
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
	return namespace.Bind(ns, path)
}

// prepareBinding makes room at path, whatever is there now.
func prepareBinding(path string) error {
	if err := removeNamespace(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return fmt.Errorf("cannot make the folder of network namespaces: %w", err)
	}
	return nil
}

// repairSettings sets what was changed of a bound namespace, and says what.
func repairSettings(path string) (wrong []string, err error) {
	err = namespace.DoAt(path, func() (err error) {
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
	var sysctl namespace.Settings
	defer sysctl.Close()
	for _, s := range settings {
		now, err := sysctl.Get(s.name)
		if errors.Is(err, os.ErrNotExist) || err == nil && now == s.value {
			continue
		}
		if err := sysctl.Set(s.name, s.value); err != nil {
			return differed, err
		}
		differed = append(differed, fmt.Sprintf("%s was %s instead of %s", s.name, now, s.value))
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
	if err := namespace.Unbind(path); err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("cannot remove the network namespace %s: %w", path, err)
	}
	return nil
}

// isNamespace reports whether path is a bound namespace. One that cannot be
// looked at is as good as none.
func isNamespace(path string) bool {
	bound, err := namespace.Bound(path)
	return err == nil && bound
}
