package containerd

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// host is what has to be known about the machine to limit containers on it.
type host struct {
	// unified: cgroup v2 only. Otherwise v1, alone or as a hybrid.
	unified bool
	// memory is where the memory controller's hierarchy is mounted, cgroups
	// the mount points of all hierarchies.
	memory  string
	cgroups []string
	// swapLimit: the kernel can limit swap per cgroup.
	swapLimit bool
	// maxFiles is the most open files that a container can be given.
	maxFiles uint64
	// oomScore is the oom_score_adj of containers.
	oomScore int
}

// appOOMScore makes the kernel prefer apps to the platform when the whole
// machine runs out of memory.
const appOOMScore = 300

func probeHost() (host, error) {
	var h host
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return h, fmt.Errorf("cannot look for cgroups: %w", err)
	}
	defer mounts.Close()
	var v2 string
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		point, kind, options := parseMount(lines.Text())
		switch kind {
		case "cgroup2":
			v2 = point
			h.cgroups = append(h.cgroups, point)
		case "cgroup":
			h.cgroups = append(h.cgroups, point)
			if strings.Contains(","+options+",", ",memory,") {
				h.memory = point
			}
		}
	}
	switch {
	case h.memory != "":
		_, err := os.Stat(filepath.Join(h.memory, "memory.memsw.limit_in_bytes"))
		h.swapLimit = err == nil
	case v2 != "":
		h.unified, h.memory, h.swapLimit = true, v2, true
	default:
		return h, errors.New("no cgroup with the memory controller is mounted below /sys/fs/cgroup; containers could not be limited")
	}
	h.maxFiles, err = maxFiles()
	if err != nil {
		return h, err
	}
	h.oomScore = appOOMScore
	if own, err := readUint("/proc/self/oom_score_adj"); err == nil && int(own) > h.oomScore {
		h.oomScore = int(own) // lowering it may be forbidden
	}
	return h, nil
}

// parseMount reads a line of mountinfo (proc(5)): mount point, file system
// type and super block options.
func parseMount(line string) (point, kind, options string) {
	before, after, _ := strings.Cut(line, " - ")
	fields, rest := strings.Fields(before), strings.Fields(after)
	if len(fields) < 5 || len(rest) < 3 {
		return "", "", ""
	}
	return fields[4], rest[0], rest[2]
}

// maxFiles is the highest limit of open files that can be set: the kernel's
// ceiling and, without CAP_SYS_RESOURCE, our own limit.
func maxFiles() (uint64, error) {
	ceiling, err := readUint("/proc/sys/fs/nr_open")
	if err != nil {
		return 0, fmt.Errorf("cannot learn the limit of open files: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return 0, fmt.Errorf("cannot learn our own capabilities: %w", err)
	}
	if caps[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0 {
		return ceiling, nil
	}
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return 0, fmt.Errorf("cannot learn the limit of open files: %w", err)
	}
	return min(ceiling, own.Max), nil
}

func (h host) clampFiles(n uint64) uint64 { return min(n, h.maxFiles) }

// cpuWeight is a size's weight as cgroup v2 has it: 100 for weight 2.
func cpuWeight(weight int) string { return strconv.Itoa(weight * 50) }

// oomKills counts the processes of a cgroup that the kernel ended for
// memory.
func (h host) oomKills(cgroup string) (uint64, error) {
	file := "memory.oom_control"
	if h.unified {
		file = "memory.events"
	}
	text, err := os.ReadFile(filepath.Join(h.memory, cgroup, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, nil // Linux before 4.13
}

// removeCgroup removes an empty cgroup from all hierarchies.
func (h host) removeCgroup(cgroup string) error {
	var errs []error
	for _, point := range h.cgroups {
		if err := os.Remove(filepath.Join(point, cgroup)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func readUint(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}
