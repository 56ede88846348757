package namespace

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Settings are the network settings of one namespace. The zero value is those
// of the namespace of the thread that uses it: use it on that thread only, as
// long as the thread is there, then Close it.
//
// Names are paths below /proc/sys, such as net/ipv4/ip_forward. The kernel
// looks for each /proc/sys/net/ipv4 through those of all namespaces (one hash
// chain has them all), which with a thousand containers takes longer than
// everything else about a setting. So that folder, and the one of IPv6, are
// looked up once.
type Settings struct {
	folders [2]folder
}

// folder is one of the two; the zero value was not looked up yet.
type folder struct {
	fd     int
	opened bool
	err    error
}

var folderNames = [2]string{"net/ipv4/", "net/ipv6/"}

// Close lets go of what was opened. The Settings can be used anew then.
func (s *Settings) Close() {
	for i, f := range s.folders {
		if f.opened && f.err == nil {
			unix.Close(f.fd)
		}
		s.folders[i] = folder{}
	}
}

// Get reads a setting, its parts separated by one space each. The error is
// os.ErrNotExist for one that the kernel does not have, such as those of
// IPv6 or of an interface that is gone.
func (s *Settings) Get(name string) (string, error) {
	fd, err := s.open(name, unix.O_RDONLY)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", name, err)
	}
	defer unix.Close(fd)
	var text [1024]byte // far more than any of these has
	n, err := again(func() (int, error) { return unix.Read(fd, text[:]) })
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", name, err)
	}
	return strings.Join(strings.Fields(string(text[:n])), " "), nil
}

// Set writes a setting. The error is os.ErrNotExist as with Get.
func (s *Settings) Set(name, value string) error {
	fd, err := s.open(name, unix.O_WRONLY)
	if err == nil {
		_, err = again(func() (int, error) { return unix.Write(fd, []byte(value)) })
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return fmt.Errorf("cannot set %s to %s: %w", name, value, err)
	}
	return nil
}

// HaveIPv6 tells whether the kernel has IPv6 at all.
func (s *Settings) HaveIPv6() bool {
	_, err := s.folder(1)
	return err == nil
}

// Private

func (s *Settings) open(name string, mode int) (int, error) {
	at, path := unix.AT_FDCWD, "/proc/sys/"+name
	for i, prefix := range folderNames {
		if rest, below := strings.CutPrefix(name, prefix); below {
			fd, err := s.folder(i)
			if err != nil {
				return 0, err
			}
			at, path = fd, rest
		}
	}
	return openat(at, path, mode)
}

func (s *Settings) folder(i int) (int, error) {
	f := &s.folders[i]
	if !f.opened {
		f.fd, f.err = openat(unix.AT_FDCWD, "/proc/sys/"+folderNames[i], unix.O_PATH|unix.O_DIRECTORY)
		f.opened = true
	}
	return f.fd, f.err
}

func openat(at int, path string, mode int) (int, error) {
	return again(func() (int, error) { return unix.Openat(at, path, mode|unix.O_CLOEXEC, 0) })
}

// again repeats a system call that a signal interrupted.
func again(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
