package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// minFree is the disk space below which a first deployment is likely to fail.
const minFree = 2 << 30

// Root checks that the process is root: it makes namespaces and loads eBPF.
func Root() Check {
	return Check{"root", func(context.Context) error {
		if os.Geteuid() != 0 {
			return errors.New("the server must run as root; use sudo or a systemd unit")
		}
		return nil
	}}
}

// Kernel checks the floor of the kernel's version.
func Kernel(major, minor int) Check {
	return Check{"kernel", func(context.Context) error {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return fmt.Errorf("cannot read the kernel's version: %w", err)
		}
		release := unix.ByteSliceToString(u.Release[:])
		var a, b int
		if _, err := fmt.Sscanf(release, "%d.%d", &a, &b); err != nil {
			return fmt.Errorf("cannot understand the kernel's version %q", release)
		}
		if a < major || a == major && b < minor {
			return fmt.Errorf("its version %s is too old: Linux %d.%d or newer is needed (Debian 11, Ubuntu 22.04 or newer have it)", release, major, minor)
		}
		return nil
	}}
}

// Program checks that a program can be found; pkg is the Debian package that
// has it.
func Program(name, pkg string) Check {
	return Check{name, func(context.Context) error {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("the program %s is missing: apt-get install %s", name, pkg)
		}
		return nil
	}}
}

// File checks that a file or folder is there; advice says how to get it.
func File(name, path, advice string) Check {
	return Check{name, func(context.Context) error {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s is missing: %s", path, advice)
		}
		return nil
	}}
}

// Cgroups checks that the kernel can limit memory, CPU and processes, with
// either version of cgroups.
func Cgroups() Check {
	return Check{"cgroups", func(context.Context) error {
		have := map[string]bool{}
		if text, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil {
			for _, c := range strings.Fields(string(text)) {
				have[c] = true
			}
		} else {
			for _, c := range []string{"memory", "cpu", "pids"} {
				if info, err := os.Stat(filepath.Join("/sys/fs/cgroup", c)); err == nil && info.IsDir() {
					have[c] = true
				}
			}
		}
		for _, c := range []string{"memory", "cpu", "pids"} {
			if !have[c] {
				return fmt.Errorf("the %s controller is missing below /sys/fs/cgroup: enable it (on some machines the kernel parameter cgroup_enable=%s does)", c, c)
			}
		}
		return nil
	}}
}

// Disk checks that dir, or the nearest folder above it, has room.
func Disk(dir string) Check {
	return Check{"disk", func(context.Context) error {
		for {
			var st unix.Statfs_t
			err := unix.Statfs(dir, &st)
			if errors.Is(err, unix.ENOENT) && dir != "/" {
				dir = filepath.Dir(dir)
				continue
			}
			if err != nil {
				return fmt.Errorf("cannot look at the disk of %s: %w", dir, err)
			}
			if free := int64(st.Bavail) * st.Bsize; free < minFree {
				return fmt.Errorf("%s has %d MiB free, at least %d are needed: free some space or set data_dir to another disk", dir, free>>20, minFree>>20)
			}
			return nil
		}
	}}
}

// Port checks that a TCP address can be listened on.
func Port(name, addr, setting string) Check {
	return Check{name, func(ctx context.Context) error {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("cannot listen on %s (%v): stop what uses the port or change %s", addr, err, setting)
		}
		return l.Close()
	}}
}
