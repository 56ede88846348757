package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Port checks that a TCP address can be listened on, or is already by the
// process ours (0: none runs).
func Port(name, addr, setting string, ours int) Check {
	return Check{name, func(ctx context.Context) (string, error) {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", addr)
		if err == nil {
			return addr + " is free", l.Close()
		}
		_, port, _ := net.SplitHostPort(addr)
		pid := listener(port)
		switch {
		case pid != 0 && pid == ours:
			return fmt.Sprintf("%s is served (process %d)", addr, pid), nil
		case pid != 0:
			return "", fmt.Errorf("%s is taken by %s (process %d): stop it or change %s", addr, program(pid), pid, setting)
		case errors.Is(err, unix.EADDRNOTAVAIL):
			return "", fmt.Errorf("%s is no address of this machine: change %s", addr, setting)
		}
		return "", fmt.Errorf("cannot listen on %s (%w): stop what uses the port or change %s", addr, err, setting)
	}}
}

// LockHolder is the process that holds a lock (flock) on a file, 0 when none
// does. It takes no lock to find out: a server that starts just then must not
// meet one.
func LockHolder(path string) (pid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); errors.Is(err, unix.ENOENT) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("cannot look at %s: %w", path, err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, fmt.Errorf("cannot list the locks: %w", err)
	}
	// "1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF"; the device is not
	// compared: on btrfs it is another than stat tells.
	for line := range bytes.Lines(locks) {
		f := strings.Fields(string(line))
		if len(f) < 6 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], fmt.Sprintf(":%d", st.Ino)) {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && hasOpen(pid, path) {
			return pid, nil
		}
	}
	return 0, nil
}

// Private

// listener finds the process that listens on a TCP port of this network
// namespace, 0 when it cannot be found.
func listener(port string) int {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0
	}
	inodes := map[string]bool{}
	for _, file := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			// sl local_address rem_address st ... inode is the tenth; 0A: listens.
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil || len(inodes) == 0 {
		return 0
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && inodes[target] {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			return pid
		}
	}
	return 0
}

func hasOpen(pid int, path string) bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(files, func(file string) bool {
		target, err := os.Readlink(file)
		return err == nil && target == path
	})
}

// program is the name of a process.
func program(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "another program"
	}
	return strings.TrimSpace(string(name))
}
