package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// guard keeps one asker's flood of UDP questions from pushing those of the
// others out of the socket's queue, where no reader could be fair any more.
// It is a filter that the kernel runs on each question before it is queued,
// on the sender's time: whoever asks more often than agreed loses questions,
// and wakes nobody.
type guard struct {
	program *ebpf.Program
	askers  *ebpf.Map
}

// Defaults of what one asker may ask. A connection made by name takes two
// questions (IPv4 and IPv6), so this is 5000 of them in a second, none cached.
const (
	defaultQuestionRate = 10_000
	questionBurst       = 2_000
	// maxGuarded is how many askers are told apart; the kernel forgets the
	// one that has been silent for the longest.
	maxGuarded = 4096
	// receiveBuffer holds the bursts of several askers, 0.8 kB a question.
	receiveBuffer = 8 << 20
)

// guarded is what the kernel keeps of an asker: the time at which its
// questions so far would have been due at the agreed rate, in nanoseconds of
// its clock, and how many were dropped.
type guarded struct {
	Due     uint64
	Dropped uint64
}

// openGuard loads the filter, for rate questions in a second. It needs
// CAP_BPF.
func openGuard(rate int) (*guard, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("cannot lift the limit on locked memory, which kernels before 5.11 need: %w", err)
	}
	askers, err := ebpf.NewMap(&ebpf.MapSpec{Name: "dns_askers", Type: ebpf.LRUHash, KeySize: 4, ValueSize: 16, MaxEntries: maxGuarded})
	if err != nil {
		return nil, fmt.Errorf("cannot make the table of askers: %w", err)
	}
	interval := int64(time.Second) / int64(rate)
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "dns_guard", Type: ebpf.SocketFilter, License: "Apache-2.0",
		Instructions: guardProgram(askers.FD(), interval, questionBurst*interval),
	})
	if err != nil {
		askers.Close()
		return nil, fmt.Errorf("cannot load the filter of questions: %w", err)
	}
	return &guard{program: program, askers: askers}, nil
}

// guardProgram is the filter: it returns how many bytes of the packet to
// keep. A packet is dropped when its sender is ahead of the agreed rate by
// more than burst.
func guardProgram(askers int, interval, burst int64) asm.Instructions {
	const (
		source   = -8 // where on the stack
		value    = -24
		fromIP   = 1  // BPF_HDR_START_NET
		sourceIP = 12 // offset in the IPv4 header
		noExist  = 1  // BPF_NOEXIST
	)
	return asm.Instructions{
		// source = the packet's source address, or keep it
		asm.Mov.Imm(asm.R2, sourceIP),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, source),
		asm.Mov.Imm(asm.R4, 4),
		asm.Mov.Imm(asm.R5, fromIP),
		asm.FnSkbLoadBytesRelative.Call(),
		asm.JNE.Imm(asm.R0, 0, "keep"),
		// R7 = now
		asm.FnKtimeGetNs.Call(),
		asm.Mov.Reg(asm.R7, asm.R0),
		// R0 = the asker
		asm.LoadMapPtr(asm.R1, askers),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, source),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "newcomer"),
		// R1 = max(due, now); too far ahead?
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.JGE.Reg(asm.R1, asm.R7, "ahead"),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.Mov.Reg(asm.R2, asm.R1).WithSymbol("ahead"),
		asm.Sub.Reg(asm.R2, asm.R7),
		asm.LoadImm(asm.R3, burst, asm.DWord),
		asm.JGT.Reg(asm.R2, asm.R3, "drop"),
		// due = R1 + interval. Two processors may do this at once and count
		// one question instead of two, which is no harm.
		asm.Add.Imm(asm.R1, int32(interval)),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Imm32(asm.R0, -1).WithSymbol("keep"),
		asm.Return(),
		asm.Mov.Imm(asm.R1, 1).WithSymbol("drop"),
		asm.Add.Imm(asm.R0, 8),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
		asm.Add.Imm(asm.R7, int32(interval)).WithSymbol("newcomer"),
		asm.StoreMem(asm.RFP, value, asm.R7, asm.DWord),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, value+8, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, askers),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, source),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, value),
		asm.Mov.Imm(asm.R4, noExist),
		asm.FnMapUpdateElem.Call(),
		asm.Ja.Label("keep"),
	}
}

// attach makes the kernel filter what arrives at a socket, which then needs
// no more of the guard than that its table is read.
func (g *guard) attach(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot attach the filter of questions: %w", err)
	}
	ctlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_BPF, g.program.FD())
	})
	if err = errors.Join(ctlErr, err); err != nil {
		return fmt.Errorf("cannot attach the filter of questions: %w", err)
	}
	return nil
}

// dropped returns how many questions of each asker were dropped.
func (g *guard) dropped() (map[netip.Addr]uint64, error) {
	out := map[netip.Addr]uint64{}
	var addr [4]byte
	var asker guarded
	entries := g.askers.Iterate()
	for entries.Next(&addr, &asker) {
		if asker.Dropped > 0 {
			out[netip.AddrFrom4(addr)] = asker.Dropped
		}
	}
	// Askers come and go meanwhile, which may end a look early.
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return out, fmt.Errorf("cannot read who asks too much: %w", err)
	}
	return out, nil
}

func (g *guard) close() {
	g.program.Close()
	g.askers.Close()
}

// enlarge gives a socket room for questions that wait; the plain option is
// limited to what the machine allows everybody.
func enlarge(c syscall.RawConn) error {
	var err error
	ctlErr := c.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
	})
	return errors.Join(ctlErr, err)
}
