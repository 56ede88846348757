package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// users says which processes are in which network namespace; those of this
// process do not count.
type users map[uint64][]int

// findUsers looks at every process of the machine. It takes some
// microseconds for each, so it is done only when something is amiss.
func findUsers() (users, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list the processes: %w", err)
	}
	all := users{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if ns, ok := namespaceOf(pid); ok {
			all[ns] = append(all[ns], pid)
		}
	}
	return all, nil
}

// of returns the processes in the namespace that is bound at path.
func (u users) of(path string) []int {
	var st unix.Stat_t
	if !isNamespace(path) || unix.Stat(path, &st) != nil {
		return nil
	}
	return u[st.Ino]
}

// namespaceOf returns the number of a process's network namespace. Where the
// first thread has ended, another one tells.
func namespaceOf(pid int) (uint64, bool) {
	if ns, ok := readNamespace(processNamespace(pid)); ok {
		return ns, true
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns/net", pid))
	if err != nil {
		return 0, false
	}
	for _, path := range threads {
		if ns, ok := readNamespace(path); ok {
			return ns, true
		}
	}
	return 0, false
}

func readNamespace(path string) (uint64, bool) {
	link, err := os.Readlink(path)
	if err != nil {
		return 0, false
	}
	ns, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, "net:["), "]"), 10, 64)
	return ns, err == nil
}

func processNamespace(pid int) string { return fmt.Sprintf("/proc/%d/ns/net", pid) }
