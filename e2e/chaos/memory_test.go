package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// usage is what the platform's processes of one kind take.
type usage struct {
	count int
	// pss is memory in KiB, where what n processes share counts a n-th for
	// each.
	pss int
	// cpu is the time they ran since they were started.
	cpu time.Duration
}

// kinds of the platform's processes. The apps' own are not among them.
var kinds = []string{"server", "containerd", "shim", "logger"}

// platform measures the platform's processes of a machine.
func platform(t testing.TB, m *rig.Machine) map[string]usage {
	t.Helper()
	pids := map[int]string{m.PID(): "server", containerdPID(t, m): "containerd"}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]usage{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		kind := pids[pid]
		if kind == "" {
			kind = kindOf(pid, m)
		}
		if kind == "" {
			continue
		}
		u := all[kind]
		u.count++
		u.pss += pss(pid)
		u.cpu += cpuTime(pid)
		all[kind] = u
	}
	return all
}

// kindOf tells the shims and loggers of a machine by their arguments.
func kindOf(pid int, m *rig.Machine) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	program, args, _ := bytes.Cut(text, []byte{0})
	switch name := filepath.Base(string(program)); {
	case name == "containerd-shim-runc-v2" && bytes.Contains(args, []byte(m.RunDir())):
		return "shim"
	case name == "atoll-logger" && bytes.Contains(args, []byte(m.DataDir())):
		return "logger"
	}
	return ""
}

func containerdPID(t testing.TB, m *rig.Machine) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.RunDir(), "engine", "containerd", "containerd.pid"))
	var p struct{ PID int }
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p.PID
}

// pss is 0 for a process that has ended meanwhile.
func pss(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// cpuTime reads user and system time (proc(5), stat fields 14 and 15), which
// are in hundredths of a second.
func cpuTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
