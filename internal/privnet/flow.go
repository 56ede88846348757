package privnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// Flow is what two endpoints exchanged over one service, all connections
// together. Only packets that were between two members of a network are
// counted; what was dropped before is in DropEntries alone.
type Flow struct {
	Network  uint32
	From, To netip.Addr // client and server: who opened the connections, and to whom
	// The groups they had then. The addresses may be others' by now.
	FromGroup, ToGroup uint32
	// Protocol of IP, such as TCP; 0 if there were so many new flows between
	// the two in one second that they are counted together.
	Protocol uint8
	Port     uint16 // the server's; 0 where there is none, as with ICMP

	// Packets as they would be on a wire, and the bytes of IP in them. A large
	// segment the kernel did not cut has its headers counted once.
	Packets, Bytes           uint64 // from the client to the server
	ReplyPackets, ReplyBytes uint64 // from the server to the client

	Verdict  Verdict
	LastSeen time.Time
}

// Verdict is what the policy said of a packet.
type Verdict uint8

// The verdicts, numbered as enum verdict in bpf/policy.h.
const (
	Allowed   Verdict = iota
	Denied            // dropped
	WouldDeny         // passed, because the policy's mode is ModeDryRun
	verdicts
)

// String returns the verdict's name: "allowed", "denied" or "would-deny".
func (v Verdict) String() string {
	if v < verdicts {
		return [verdicts]string{"allowed", "denied", "would-deny"}[v]
	}
	return fmt.Sprintf("verdict-%d", uint8(v))
}

// Flows returns the flows that are remembered, the latest first. The counts
// are those since a flow was first seen; the least used are forgotten when
// there are more than fit (16384, fewer with many CPUs). They outlive the
// process.
func (s *Switch) Flows(ctx context.Context) ([]Flow, error) {
	clock, err := readClock()
	if err != nil {
		return nil, err
	}
	var flows []Flow
	err = eachEntry(ctx, s.maps.flows, func(k bpf.SwitchFlowKey, perCPU []bpf.SwitchFlow) {
		f := Flow{Network: k.Network, From: addrOf(k.Client), To: addrOf(k.Server), FromGroup: k.ClientGroup, ToGroup: k.ServerGroup,
			Protocol: k.Protocol, Port: k.Port, Verdict: Verdict(k.Verdict)}
		var seen uint64
		for _, v := range perCPU {
			f.Packets += v.Packets
			f.Bytes += v.Bytes
			f.ReplyPackets += v.ReplyPackets
			f.ReplyBytes += v.ReplyBytes
			seen = max(seen, v.Seen)
		}
		if seen == 0 {
			return // entered, not counted yet
		}
		f.LastSeen = clock.at(seen)
		flows = append(flows, f)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(flows, func(a, b Flow) int {
		return cmp.Or(b.LastSeen.Compare(a.LastSeen), cmp.Compare(a.Network, b.Network), a.From.Compare(b.From),
			a.To.Compare(b.To), cmp.Compare(a.Port, b.Port))
	})
	return flows, nil
}

// DropEntry is what was dropped between two places for one reason. A flood of
// ever new destinations is counted together, with no To.
type DropEntry struct {
	Network uint32
	From    netip.Addr // the sender's own address, not the one it claims
	// FromGroup is the sender's group then. The address may be another's by now.
	FromGroup uint32
	To        netip.Addr // the zero Addr if the frame names none
	Reason    Reason
	Count     uint64
	LastSeen  time.Time
}

// DropEntries returns the drops that are remembered, the latest first. The
// least used are forgotten when there are more than 8192; Drops has every one,
// by reason. They outlive the process.
func (s *Switch) DropEntries(ctx context.Context) ([]DropEntry, error) {
	clock, err := readClock()
	if err != nil {
		return nil, err
	}
	var all []DropEntry
	err = eachEntry(ctx, s.maps.dropped, func(k bpf.SwitchDropKey, v []bpf.SwitchDropped) {
		if v[0].Count == 0 {
			return // entered, not counted yet
		}
		e := DropEntry{Network: k.Network, From: addrOf(k.From), FromGroup: k.Group, Reason: Reason(k.Reason),
			Count: v[0].Count, LastSeen: clock.at(v[0].Seen)}
		if k.To != 0 {
			e.To = addrOf(k.To)
		}
		all = append(all, e)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b DropEntry) int {
		return cmp.Or(b.LastSeen.Compare(a.LastSeen), cmp.Compare(a.Network, b.Network), a.From.Compare(b.From),
			a.To.Compare(b.To), cmp.Compare(a.Reason, b.Reason))
	})
	return all, nil
}

// eachEntry reads a table that the program changes meanwhile: many entries at
// once, since going from one key to the next would lose its way when that one
// is forgotten.
func eachEntry[K, V any](ctx context.Context, m *ebpf.Map, visit func(K, []V)) error {
	each := 1
	if m.Type() == ebpf.LRUCPUHash {
		var err error
		if each, err = ebpf.PossibleCPU(); err != nil {
			return fmt.Errorf("cannot count the CPUs: %w", err)
		}
	}
	var cursor ebpf.MapBatchCursor
	keys := make([]K, min(m.MaxEntries(), 1024))
	values := make([]V, len(keys)*each)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("cannot read the table %s: %w", m, err)
		}
		for i := range n {
			visit(keys[i], values[i*each:(i+1)*each])
		}
		if err != nil { // that was the last
			return nil
		}
	}
}

// kernelClock turns the kernel's time since boot into the wall's.
type kernelClock struct {
	wall      time.Time
	monotonic int64
}

func readClock() (kernelClock, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return kernelClock{}, fmt.Errorf("cannot read the time since boot: %w", err)
	}
	return kernelClock{time.Now().Round(0), ts.Nano()}, nil
}

func (c kernelClock) at(monotonic uint64) time.Time {
	return c.wall.Add(time.Duration(int64(monotonic) - c.monotonic))
}

// How many flows are kept; see maxFlows.
const (
	mostFlows  = 16384
	leastFlows = 4096
)

// maxFlows is how many flows are kept: each takes memory on every CPU.
func maxFlows() (uint32, error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return 0, fmt.Errorf("cannot count the CPUs: %w", err)
	}
	return uint32(min(max(mostFlows*16/cpus, leastFlows), mostFlows)), nil
}
