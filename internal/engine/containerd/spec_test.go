package containerd

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/atollhq/atoll/internal/platform"
)

func instance(size string) record {
	s, err := platform.SizeByName(size)
	if err != nil {
		panic(err)
	}
	w := platform.Workload{ID: "w", AppID: "ap-1", AppName: "shop-api", Type: "web", Kind: platform.KindApp,
		Network: platform.PrivateNetwork{ID: "pn-1", Key: 3}, Command: "run me", Size: s}
	r := record{Workload: w, User: user{UID: 10000, GID: 10001}}
	r.Instance = platform.Instance{ID: "i", Type: "web", Number: 2, AppName: "shop-api",
		NetnsPath: "/run/netns/i", PrivateAddr: netip.MustParseAddr("10.240.0.9")}
	return r
}

func TestLimitsOfSizes(t *testing.T) {
	type limits struct {
		Memory, Swap int64
		PIDs         int64
		Shares       uint64
		Weight       string
		Files        uint64
	}
	v1 := host{swapLimit: true, maxFiles: 1 << 20}
	v2 := host{unified: true, swapLimit: true, maxFiles: 20000}
	for size, want := range map[string]limits{
		"S":   {Memory: 256 << 20, Swap: 256 << 20, PIDs: 128, Shares: 512, Weight: "50", Files: 1 << 20},
		"M":   {Memory: 512 << 20, Swap: 512 << 20, PIDs: 256, Shares: 1024, Weight: "100", Files: 1 << 20},
		"2XL": {Memory: 4 << 30, Swap: 4 << 30, PIDs: 2048, Shares: 2048, Weight: "200", Files: 1 << 20},
	} {
		for _, h := range []host{v1, v2} {
			s := h.instanceSpec(instance(size), DefaultEntry, "/atoll/i", nil)
			r := s.Linux.Resources
			got := limits{Memory: *r.Memory.Limit, Swap: *r.Memory.Swap, PIDs: *r.Pids.Limit, Weight: r.Unified["cpu.weight"], Files: s.Process.Rlimits[0].Hard}
			if r.CPU.Shares != nil {
				got.Shares = *r.CPU.Shares
			}
			expect := want
			if h.unified {
				expect.Shares, expect.Files = 0, 20000
			} else {
				expect.Weight = ""
			}
			if diff := cmp.Diff(expect, got); diff != "" {
				t.Errorf("size %s, unified %v (-want +got):\n%s", size, h.unified, diff)
			}
		}
	}
	noSwapLimit := host{maxFiles: 1}.instanceSpec(instance("S"), nil, "/atoll/i", nil).Linux.Resources.Memory
	if noSwapLimit.Swap != nil || noSwapLimit.Swappiness == nil || *noSwapLimit.Swappiness != 0 {
		t.Errorf("without a limit for swap: %+v", noSwapLimit)
	}
}

func TestInstanceSpec(t *testing.T) {
	s := host{maxFiles: 1 << 20, oomScore: 300}.instanceSpec(instance("M"), []string{"/bin/entry", "--"}, "/atoll/i",
		[]specs.Mount{bind("/run/x/hosts", "/etc/hosts", true)})
	if got := s.Process.Args; !slices.Equal(got, []string{"/bin/entry", "--", "run me", string(platform.KindApp)}) {
		t.Errorf("arguments %q", got)
	}
	if s.Process.User.UID != 10000 || s.Process.User.GID != 10001 || s.Process.Cwd != "/app" || s.Hostname != "shop-api-web-2" {
		t.Errorf("user %+v, folder %s, host name %s", s.Process.User, s.Process.Cwd, s.Hostname)
	}
	if c := s.Process.Capabilities; len(c.Bounding)+len(c.Effective)+len(c.Permitted)+len(c.Inheritable)+len(c.Ambient) > 0 {
		t.Errorf("capabilities %+v", c)
	}
	for _, want := range []string{"PORT=8080", "CONTAINER=web-2", "ATOLL_PRIVATE_IP=10.240.0.9"} {
		if !slices.Contains(s.Process.Env, want) {
			t.Errorf("no %s in %q", want, s.Process.Env)
		}
	}
	if !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.NetworkNamespace && n.Path == "/run/netns/i"
	}) {
		t.Errorf("namespaces %+v", s.Linux.Namespaces)
	}
	for _, forbidden := range []string{"unshare", "setns", "mount", "bpf"} {
		for _, call := range s.Linux.Seccomp.Syscalls {
			if slices.Contains(call.Names, forbidden) && call.Action == specs.ActAllow {
				t.Errorf("the system call %s is allowed", forbidden)
			}
		}
	}
	if s.Linux.Seccomp.DefaultAction != specs.ActErrno {
		t.Errorf("system calls that nobody named: %s", s.Linux.Seccomp.DefaultAction)
	}
}

func TestPublicPort(t *testing.T) {
	for _, c := range []struct {
		kind platform.Kind
		name string
		want uint16
	}{
		{platform.KindApp, "web", platform.Port},
		{platform.KindApp, "tcp", platform.Port},
		{platform.KindApp, "worker", 0},
		{platform.KindOneOff, "one-off", 0},
		{platform.KindPostdeploy, "web", 0},
	} {
		r := instance("M")
		r.Workload.Kind, r.Workload.Type = c.kind, c.name
		if q := r.request(); q.PublicPort != c.want || !q.Private || !q.Outside {
			t.Errorf("%s %s: %+v, want port %d", c.kind, c.name, q, c.want)
		}
	}
}

func TestHosts(t *testing.T) {
	private, outside := netip.MustParseAddr("10.240.0.9"), netip.MustParseAddr("172.17.0.5")
	for want, s := range map[string]Sandbox{
		"10.240.0.9 me\n": {PrivateAddr: private, OutsideAddr: outside},
		"172.17.0.5 me\n": {OutsideAddr: outside},
		"127.0.1.1 me\n":  {},
	} {
		if got := hosts("me", s); !strings.HasSuffix(got, "\n"+want) || !strings.HasPrefix(got, "127.0.0.1 localhost\n") {
			t.Errorf("hosts %q, want the end %q", got, want)
		}
	}
}

func TestParseMount(t *testing.T) {
	line := "36 24 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory"
	if point, kind, options := parseMount(line); point != "/sys/fs/cgroup/memory" || kind != "cgroup" || options != "rw,memory" {
		t.Errorf("%q %q %q", point, kind, options)
	}
	if point, _, _ := parseMount("nonsense"); point != "" {
		t.Errorf("nonsense has the mount point %q", point)
	}
}

func TestEndingDescribes(t *testing.T) {
	for want, e := range map[string]ending{
		"code 3":             {Exit: platform.Exit{Code: 3}},
		"signal 11":          {Exit: platform.Exit{Code: 139}},
		"size S has (256 Mi": {Exit: platform.Exit{Code: 137, OOM: true}},
		"from outside":       {Exit: platform.Exit{Code: 137}, Lost: true},
	} {
		if got := e.describe(platform.Sizes[0]); !strings.Contains(got, want) {
			t.Errorf("%+v is described as %q, want %q in it", e, got, want)
		}
	}
}
