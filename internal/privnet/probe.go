package privnet

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// minKernel has the newest thing the switch needs, bpf_redirect_peer.
const minKernel = "5.10"

// Problem is something that keeps private networks from working on this node.
type Problem struct {
	Missing string // what is missing
	Fix     string // how to get it
	Err     error  // what the kernel said; nil if it was not asked
}

// String returns the problem in one line.
func (p Problem) String() string {
	if p.Err != nil {
		return fmt.Sprintf("%s: %s (%v)", p.Missing, p.Fix, p.Err)
	}
	return fmt.Sprintf("%s: %s", p.Missing, p.Fix)
}

// Probe tries what a switch needs and returns what is missing, nothing if the
// node is fit. It needs root, and leaves nothing behind: what it attaches, it
// attaches in a namespace that ends with it.
func Probe() []Problem {
	if os.Geteuid() != 0 {
		return []Problem{{Missing: "root", Fix: "run this as root: the network needs CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN"}}
	}
	var problems []Problem
	if p := probeKernel(); p != nil {
		problems = append(problems, *p)
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		problems = append(problems, Problem{"locked memory", "set LimitMEMLOCK=infinity for the service, or use Linux 5.11 or newer", err})
	}
	if err := features.HaveProgramHelper(ebpf.SchedCLS, asm.FnRedirectPeer); err != nil {
		problems = append(problems, Problem{"the BPF helper redirect_peer",
			"use Linux " + minKernel + " or newer on a machine or VM of its own; container-based virtual servers (OpenVZ, LXC) do not let guests load BPF programs", err})
	} else if err := probeAttach(); err != nil {
		problems = append(problems, Problem{"veth with a classifier on it",
			"the kernel needs CONFIG_VETH, CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF; if they are modules: modprobe veth sch_ingress cls_bpf", err})
	}
	if err := probeBPFFS(); err != nil {
		problems = append(problems, Problem{"the BPF file system", "the kernel needs CONFIG_BPF_SYSCALL, and the service must be allowed to mount (CAP_SYS_ADMIN)", err})
	}
	return problems
}

func probeKernel() *Problem {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return &Problem{"the kernel's version", "uname must work", err}
	}
	release := unix.ByteSliceToString(uts.Release[:])
	if atLeast(release, minKernel) {
		return nil
	}
	return &Problem{Missing: "Linux " + minKernel + " or newer",
		Fix: "this is " + release + "; Debian 11, Ubuntu 22.04, RHEL 9 and their successors have it"}
}

// atLeast compares the first two numbers of kernel releases. One that cannot
// be read passes: the other probes ask the kernel itself.
func atLeast(release, least string) bool {
	major, minor, ok := twoNumbers(release)
	wantMajor, wantMinor, _ := twoNumbers(least)
	return !ok || major > wantMajor || (major == wantMajor && minor >= wantMinor)
}

func twoNumbers(release string) (major, minor int, ok bool) {
	parts := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err1 == nil && err2 == nil
}

// probeAttach attaches a program that does nothing to a veth in a namespace of
// its own.
func probeAttach() error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		License:      "Apache-2.0",
	})
	if err != nil {
		return fmt.Errorf("cannot load a program: %w", err)
	}
	defer program.Close()
	return namespace.DoNew(func() error {
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("cannot open a netlink socket: %w", err)
		}
		defer handle.Close()
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "probe"
		veth := netlink.NewVeth(attrs)
		veth.PeerName = "probed"
		if err := handle.LinkAdd(veth); err != nil {
			return fmt.Errorf("cannot make a veth: %w", err)
		}
		link, err := handle.LinkByName(attrs.Name)
		if err != nil {
			return err
		}
		return errors.Join(attachFilter(handle, link, program), handle.LinkDel(link))
	})
}

// probeBPFFS makes a BPF file system without mounting it anywhere.
func probeBPFFS() error {
	fs, err := unix.Fsopen("bpf", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	return unix.FsconfigCreate(fs)
}
