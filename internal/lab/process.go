package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// process is one process for all time: its number alone is used again.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot (proc_pid_stat(5), field 22)
	Boot  string `json:"boot"`  // kernel's boot id
}

func self() (process, error) { return processOf(os.Getpid()) }

// processOf finds a process that has not ended.
func processOf(pid int) (process, error) {
	boot, err := bootID()
	if err != nil {
		return process{}, err
	}
	start, err := startOf(pid)
	return process{PID: pid, Start: start, Boot: boot}, err
}

// alive tells whether the process still runs. One that has ended but was not
// waited for does not.
func (p process) alive() bool {
	now, err := processOf(p.PID)
	return err == nil && now == p
}

var errEnded = errors.New("the process has ended")

func startOf(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, second and in parentheses, may hold anything.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has only %d fields after the name", pid, len(fields))
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return 0, errEnded
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

var bootID = sync.OnceValues(func() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
})

// record writes down that a process ends with the lab.
func record(dir string, p process) error {
	dir = filepath.Join(dir, "processes")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, strconv.Itoa(p.PID)), data, 0o644)
}

func recorded(dir string) (map[process]bool, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "processes"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	all := map[process]bool{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, "processes", e.Name()))
		if err != nil {
			return nil, err
		}
		// A record that is cut short was never used for anything.
		var p process
		if json.Unmarshal(data, &p) == nil {
			all[p] = true
		}
	}
	return all, nil
}

// inhabitants says which processes end with a lab.
type inhabitants struct {
	recorded   map[process]bool
	namespaces held   // as /proc/PID/ns/net reads: "net:[4026532281]"
	cgroup     string // and everything below it
}

// among tells whether a process that runs now is one. This process never is.
func (in inhabitants) among(pid int) bool {
	p, err := processOf(pid)
	if err != nil || pid == os.Getpid() {
		return false
	}
	if in.recorded[p] {
		return true
	}
	if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && in.namespaces[ns] != nil {
		return true
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && inCgroup(string(data), in.cgroup)
}

func (in inhabitants) list() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && in.among(pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// killAll kills until none is left: they may start others meanwhile.
func (in inhabitants) killAll() error {
	return retry(func() error {
		pids, err := in.list()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := in.kill(pid); err != nil {
				return fmt.Errorf("cannot kill process %d (%s): %w", pid, commandOf(pid), err)
			}
		}
		return fmt.Errorf("process %d (%s) does not end", pids[0], commandOf(pids[0]))
	})
}

// kill holds the process by a descriptor and looks again before it kills, so
// that the number cannot mean another one by then.
func (in inhabitants) kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !in.among(pid) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// commandOf is the command line of a process, for messages.
func commandOf(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(data) == 0 {
		return "unknown command"
	}
	line := strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " "))
	if len(line) > 80 {
		line = line[:80] + "..."
	}
	return line
}
