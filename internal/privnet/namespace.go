package privnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// The switch namespace has no addresses, so its stack has nothing to say;
// these make sure that it stays silent.
var switchSysctls = []sysctl{
	{"net/ipv6/conf/all/disable_ipv6", "1"},
	{"net/ipv6/conf/default/disable_ipv6", "1"},
	{"net/ipv4/ip_forward", "0"},
	{"net/ipv4/conf/all/forwarding", "0"},
	{"net/ipv4/conf/default/forwarding", "0"},
}

type sysctl struct{ key, value string }

// openNamespace opens the network namespace bound at path, making and binding
// one where there is none.
func openNamespace(path string) (netns.NsHandle, error) {
	bound, err := namespace.Bound(path)
	if err != nil {
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
	if err := namespace.Do(ns, silence); err != nil {
		ns.Close()
		return netns.None(), fmt.Errorf("cannot silence the switch namespace: %w", err)
	}
	return ns, nil
}

func makeNamespace(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return namespace.Make(path, silence)
}

// silence sets the sysctls of the switch namespace in the thread's namespace.
func silence() error {
	var sysctl namespace.Settings
	defer sysctl.Close()
	for _, s := range switchSysctls {
		if err := writeSysctl(&sysctl, s.key, s.value); err != nil {
			return err
		}
	}
	return nil
}

// removeNamespace unbinds the namespace at path and removes the file.
func removeNamespace(path string) error {
	bound, err := namespace.Bound(path)
	if err != nil {
		return err
	}
	if bound {
		if err := namespace.Unbind(path); err != nil {
			return err
		}
	}
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
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

// writeSysctl sets a network sysctl of the thread's namespace, if it differs.
// Those of IPv6 are skipped where the kernel has none.
func writeSysctl(sysctl *namespace.Settings, key, value string) error {
	if now, err := sysctl.Get(key); err == nil && now == value {
		return nil
	}
	err := sysctl.Set(key, value)
	if errors.Is(err, os.ErrNotExist) && !sysctl.HaveIPv6() {
		return nil
	}
	return err
}
