package containerd

import (
	"cmp"
	"maps"
	"path"
	"slices"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/atollhq/atoll/internal/platform"
)

// DefaultEntry runs a command in bash after the files of .profile.d and
// .profile (CL-7), and of .bashrc for one-offs (OO-6); its arguments are the
// command and the workload's kind. Both exec lines keep the first process of the container
// the one that matters: bash replaces itself by a command that is a plain
// one, so that signals reach it.
//
// The kernel ignores signals that the first process of a PID namespace has
// no handler for: without tini, a program that does nothing about SIGTERM
// always lives until SIGKILL. Images that have tini get it.
var DefaultEntry = []string{"/bin/bash", "-c", `atoll_command=$1
for atoll_file in /app/.profile.d/*; do
	if [ -f "$atoll_file" ] && [ -r "$atoll_file" ]; then . "$atoll_file"; fi
done
if [ -f /app/.profile ]; then . /app/.profile; fi
if [ "${2-}" = one-off ] || [ "${2-}" = cron ]; then
	if [ -f /app/.bashrc ]; then . /app/.bashrc; fi
fi
if [ -x /usr/bin/tini ]; then exec /usr/bin/tini -- /bin/bash -c "$atoll_command"; fi
exec /bin/bash -c "$atoll_command"`, "atoll"}

// plan is what makes one container different from another.
type plan struct {
	args     []string
	dir      string
	env      map[string]string
	user     user
	hostname string
	cgroup   string
	// netns is the path of a network namespace; "" means a new one with
	// nothing but lo.
	netns string
	// group is the shim's, see group.go.
	group  string
	mounts []specs.Mount
	// terminal gives the process one; width and height may be 0.
	terminal      bool
	width, height int
	memory        int64
	pids          int64
	weight        int
	nofile        uint64
}

// instanceSpec is the OCI specification of an instance.
func (h host) instanceSpec(r record, entry []string, cgroup string, mounts []specs.Mount) *specs.Spec {
	w := r.Workload
	p := plan{
		args:     append(slices.Clone(entry), w.Command, string(w.Kind)),
		dir:      "/app",
		env:      platform.ContainerEnv(w, r.Instance.Number, r.Instance.PrivateAddr),
		user:     r.User,
		hostname: platform.Hostname(w.AppName, w.Type, r.Instance.Number),
		cgroup:   cgroup,
		netns:    r.Instance.NetnsPath,
		group:    r.Group,
		mounts:   mounts,
		memory:   w.Size.Memory,
		pids:     w.Size.PIDs,
		weight:   w.Size.Weight,
		nofile:   w.Size.NoFile,
	}
	if once := r.Once; once != nil && once.Terminal {
		p.terminal, p.width, p.height = true, once.Width, once.Height
	}
	return h.spec(p)
}

// spec is the OCI specification of any container of ours.
func (h host) spec(p plan) *specs.Spec {
	namespaces := []specs.LinuxNamespace{
		{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
		{Type: specs.NetworkNamespace, Path: p.netns},
	}
	if h.unified {
		namespaces = append(namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	s := &specs.Spec{
		Version: "1.0.2", // all that is used here; older runtimes refuse what they do not know
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Args:            p.args,
			Cwd:             p.dir,
			Env:             environ(p.env),
			User:            specs.User{UID: p.user.UID, GID: p.user.GID},
			Capabilities:    &specs.LinuxCapabilities{},
			NoNewPrivileges: true,
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: h.clampFiles(p.nofile), Soft: h.clampFiles(p.nofile)}},
			OOMScoreAdj:     &h.oomScore,
		},
		Hostname: p.hostname,
		Mounts:   append(systemMounts(), p.mounts...),
		Linux: &specs.Linux{
			Namespaces:    namespaces,
			CgroupsPath:   p.cgroup,
			Resources:     h.resources(p),
			MaskedPaths:   maskedPaths,
			ReadonlyPaths: readonlyPaths,
			// An app may serve on any port of its own namespace (decision 10).
			Sysctl: map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"},
		},
	}
	if p.terminal {
		s.Process.Terminal = true
		s.Process.ConsoleSize = &specs.Box{Width: uint(cmp.Or(p.width, 80)), Height: uint(cmp.Or(p.height, 24))}
	}
	if p.group != "" {
		s.Annotations = map[string]string{groupAnnotation: p.group}
	}
	// Without capabilities the profile refuses every system call that makes
	// a namespace, user namespaces included; clone3, whose flags seccomp
	// cannot see, does not exist (ENOSYS).
	s.Linux.Seccomp = seccomp.DefaultProfile(s)
	return s
}

// resources are the limits; swap is 0 (FS-3).
func (h host) resources(p plan) *specs.LinuxResources {
	r := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, // runc adds null, zero, random, tty and the like
		Memory:  &specs.LinuxMemory{Limit: &p.memory},
		Pids:    &specs.LinuxPids{Limit: &p.pids},
		CPU:     &specs.LinuxCPU{},
	}
	if h.swapLimit {
		r.Memory.Swap = &p.memory // memory and swap together
	} else {
		zero := uint64(0)
		r.Memory.Swappiness = &zero
	}
	if h.unified {
		// Written as it is: the conversion from shares is not the same in all
		// versions of runc. The kernel's default is 100.
		r.Unified = map[string]string{"cpu.weight": cpuWeight(p.weight)}
	} else {
		shares := uint64(p.weight) * 512 // the kernel's default, 1024, for weight 2
		r.CPU.Shares = &shares
	}
	return r
}

func environ(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// systemMounts are the file systems of the kernel. The cgroup is shown
// because runtimes (Java, Go, Node.js) size themselves by its limits.
func systemMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
	}
}

// bind shows a file or folder of the host.
func bind(source, target string, readOnly bool) specs.Mount {
	options := []string{"rbind", "nosuid", "nodev", "rprivate", "rw"}
	if readOnly {
		options[len(options)-1] = "ro"
	}
	return specs.Mount{Destination: path.Clean(target), Type: "bind", Source: source, Options: options}
}

// What of /proc and /sys tells about the host or changes it.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)
