package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// Root checks that the process is root: it makes namespaces and loads eBPF.
func Root() Check {
	return Check{"root", func(context.Context) (string, error) {
		if os.Geteuid() != 0 {
			return "", errors.New("this must run as root; use sudo or a systemd unit")
		}
		return "", nil
	}}
}

// Kernel checks the floor of the kernel's version.
func Kernel(major, minor int) Check {
	return Check{"kernel", func(context.Context) (string, error) {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return "", fmt.Errorf("cannot read the kernel's version: %w", err)
		}
		release := unix.ByteSliceToString(u.Release[:])
		var a, b int
		if _, err := fmt.Sscanf(release, "%d.%d", &a, &b); err != nil {
			return "", fmt.Errorf("cannot understand the kernel's version %q; Linux %d.%d or newer is needed", release, major, minor)
		}
		if a < major || a == major && b < minor {
			return "", fmt.Errorf("its version %s is too old: Linux %d.%d or newer is needed (Debian 11, Ubuntu 22.04 or newer have it)", release, major, minor)
		}
		return "Linux " + release, nil
	}}
}

// Program checks that a program can be found; pkg is the Debian package that
// has it.
func Program(name, pkg string) Check {
	return Check{name, func(context.Context) (string, error) {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("the program %s is missing: apt-get install %s", name, pkg)
		}
		return path, nil
	}}
}

// File checks that a file or folder is there; advice says how to get it.
func File(name, path, advice string) Check {
	return Check{name, func(context.Context) (string, error) {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s is missing: %s", path, advice)
		}
		return path, nil
	}}
}

// Cgroups checks that the kernel can limit memory, CPU and processes, with
// either version of cgroups.
func Cgroups() Check {
	return Check{"cgroups", func(context.Context) (string, error) {
		const root = "/sys/fs/cgroup"
		have, version := map[string]bool{}, "version 2"
		if text, err := os.ReadFile(root + "/cgroup.controllers"); err == nil {
			for _, c := range strings.Fields(string(text)) {
				have[c] = true
			}
		} else {
			version = "version 1"
			for _, c := range []string{"memory", "cpu", "pids"} {
				if info, err := os.Stat(filepath.Join(root, c)); err == nil && info.IsDir() {
					have[c] = true
				}
			}
		}
		for _, c := range []string{"memory", "cpu", "pids"} {
			if !have[c] {
				return "", fmt.Errorf("the %s controller is missing below %s: enable it (on some machines the kernel parameter cgroup_enable=%s does)", c, root, c)
			}
		}
		var st unix.Statfs_t
		if err := unix.Statfs(root, &st); err == nil && st.Flags&unix.ST_RDONLY != 0 && version == "version 2" {
			return "", fmt.Errorf("%s is mounted read-only, so containers cannot be limited: run Atoll on the machine itself, or let the container it is in write there", root)
		}
		return version, nil
	}}
}

// Overlay tries overlayfs, which containers' root file systems need, in a
// mount namespace of its own.
func Overlay() Check {
	return Check{"overlayfs", func(context.Context) (string, error) {
		err := namespace.Apart(unix.CLONE_NEWNS, func() error {
			if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return fmt.Errorf("cannot make mounts private: %w", err)
			}
			dir := os.TempDir() // covered in this namespace only
			if err := unix.Mount("atoll-doctor", dir, "tmpfs", 0, "size=1m"); err != nil {
				return fmt.Errorf("cannot mount a tmpfs: %w", err)
			}
			for _, name := range []string{"lower", "upper", "work", "merged"} {
				if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
					return err
				}
			}
			return unix.Mount("atoll-doctor", filepath.Join(dir, "merged"), "overlay", 0,
				fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir))
		})
		if err != nil {
			return "", fmt.Errorf("overlayfs cannot be mounted (%w): modprobe overlay, or use a kernel with CONFIG_OVERLAY_FS", err)
		}
		return "", nil
	}}
}
