package privnet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountMark is a folder in a BPF file system that says that we mounted it. Its
// source in /proc/mounts would, but kernels like 5.10 forget that.
const mountMark = "mounted_by_atoll"

// mountBPFFS makes sure that dir is on a BPF file system, mounting one on it
// if it is not.
func mountBPFFS(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the folder for pins: %w", err)
	}
	on, err := onBPFFS(dir)
	if err != nil || on {
		return err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("atoll", dir, "bpf", flags, "mode=0700"); err != nil {
		return fmt.Errorf("cannot mount a BPF file system on %s (needs root, and CONFIG_BPF_SYSCALL in the kernel): %w", dir, err)
	}
	if err := os.Mkdir(filepath.Join(dir, mountMark), 0o700); err != nil {
		return fmt.Errorf("cannot mark the BPF file system as ours: %w", err)
	}
	return nil
}

// unmountBPFFS unmounts the BPF file system on dir if it is ours.
func unmountBPFFS(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, mountMark)); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot unmount %s: %w", dir, err)
	}
	return nil
}

func onBPFFS(dir string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return fs.Type == unix.BPF_FS_MAGIC, nil
}
