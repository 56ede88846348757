package namespace

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Make makes a network namespace, lets prepare set it up on a thread in it,
// and binds it at path, a file that is made if need be in a folder that is
// there. If prepare fails, nothing is bound. What is bound at path already is
// covered: see Unbind.
func Make(path string, prepare func() error) error {
	return DoNew(func() error {
		if err := prepare(); err != nil {
			return err
		}
		return bind(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path)
	})
}

// Bind binds a namespace that is there at path, like Make.
func Bind(ns netns.NsHandle, path string) error {
	return bind(fmt.Sprintf("/proc/self/fd/%d", int(ns)), path)
}

// Unbind takes away every binding at path; that there is none is no error, nor
// that there is no such file. The kernel frees a namespace, and what is in it,
// when its last user is gone.
func Unbind(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot unbind the network namespace %s: %w", path, err)
		}
	}
}

// Bound tells whether a namespace is bound at path; after a reboot there is an
// empty file, or nothing.
func Bound(path string) (bool, error) {
	var fs unix.Statfs_t
	err := unix.Statfs(path, &fs)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return fs.Type == unix.NSFS_MAGIC, nil
}

// Private

func bind(from, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("cannot make a file to bind the network namespace to: %w", err)
	}
	file.Close()
	if err := unix.Mount(from, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot bind the network namespace to %s: %w", path, err)
	}
	return nil
}
