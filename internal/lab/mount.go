package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	root   string // "net:[4026532281]" for a bound network namespace
	point  string
	fstype string
}

func readMounts() ([]mount, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseMounts(file)
}

func parseMounts(r io.Reader) ([]mount, error) {
	var mounts []mount
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // overlays name many folders in one line
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 1 {
			return nil, fmt.Errorf("mountinfo has a line of an unknown form: %q", lines.Text())
		}
		mounts = append(mounts, mount{root: unescape(left[3]), point: unescape(left[4]), fstype: right[0]})
	}
	return mounts, lines.Err()
}

// unescape undoes the octal escapes of blanks and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountsBelow is what is mounted on dir or below, in the order it was mounted.
func mountsBelow(dir string) ([]mount, error) {
	all, err := readMounts()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m mount) bool {
		return m.point != dir && !strings.HasPrefix(m.point, dir+"/")
	}), nil
}

// RemoveFolder removes a folder that is used with a lab but is not in its Dir,
// which may be in memory, and unmounts first what is mounted below. Close the lab
// before: its processes may still be writing there.
func RemoveFolder(dir string) error {
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// unmountBelow unmounts everything below dir, the last first. Where something
// stays mounted it is an error, because the folder is about to be deleted.
func unmountBelow(dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		// Detached: a killed process may not yet have let go of it.
		err := unix.Unmount(m.point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		// EINVAL: it went with another one that was shared with it.
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("cannot unmount %s: %w", m.point, err)
		}
	}
	if mounts, err = mountsBelow(dir); err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%s is still mounted", mounts[0].point)
	}
	return nil
}

// held are network namespaces, by the name that /proc/PID/ns/net reads. They
// are held open: the kernel gives the number of one that is gone to the next
// that is made, which may be that of a container of another lab.
type held map[string]*os.File

// namespacesBelow is the network namespaces bound below dir, except one. Close
// the result.
func namespacesBelow(dir, except string) (held, error) {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return nil, err
	}
	found := held{}
	for _, m := range mounts {
		if m.fstype != "nsfs" || !strings.HasPrefix(m.root, "net:[") || m.root == except || found[m.root] != nil {
			continue
		}
		file, err := os.Open(m.point)
		if errors.Is(err, os.ErrNotExist) {
			continue // unbound meanwhile
		}
		if err != nil {
			found.close()
			return nil, fmt.Errorf("cannot hold a network namespace: %w", err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(file.Fd()), &st); err != nil || fmt.Sprintf("net:[%d]", st.Ino) != m.root {
			file.Close() // likewise
			continue
		}
		found[m.root] = file
	}
	return found, nil
}

func (h held) close() {
	for _, file := range h {
		file.Close()
	}
}
