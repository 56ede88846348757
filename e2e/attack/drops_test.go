package attack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/atollhq/atoll/e2e/rig"
	"github.com/atollhq/atoll/internal/privnet"
)

// This file is all that knows where drops are counted.

// drops are how many frames were dropped, by "pn0 spoofed-ip" or "eth0
// private".
type drops map[string]uint64

// readDrops reads the counters of the switch and of the firewall.
func readDrops(t testing.TB, m *rig.Machine) drops {
	t.Helper()
	all := drops{}
	if err := errors.Join(all.readSwitch(m), all.readFirewall(m)); err != nil {
		t.Fatalf("cannot read what was dropped: %v", err)
	}
	return all
}

func (d drops) readSwitch(m *rig.Machine) error {
	counters, err := ebpf.LoadPinnedMap(filepath.Join(m.Lab.BPFFS(), "privnet", "pn_drops"), nil)
	if err != nil {
		return err
	}
	defer counters.Close()
	for _, reason := range privnet.Reasons() {
		var perCPU []uint64
		if err := counters.Lookup(uint32(reason), &perCPU); err != nil {
			return err
		}
		for _, n := range perCPU {
			d["pn0 "+reason.String()] += n
		}
	}
	return nil
}

func (d drops) readFirewall(m *rig.Machine) error {
	for _, family := range []string{"bridge", "arp", "ip"} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		out, err := m.Lab.Server().Command(ctx, "nft", "-j", "list", "counters", "table", family, "atoll_outside").Output()
		if err != nil {
			return err
		}
		var answer struct {
			Nftables []struct {
				Counter *struct {
					Name    string
					Packets uint64
				}
			}
		}
		if err := json.Unmarshal(out, &answer); err != nil {
			return err
		}
		for _, item := range answer.Nftables {
			if item.Counter != nil {
				d["eth0 "+item.Counter.Name] += item.Counter.Packets
			}
		}
	}
	return nil
}

// since is what was counted after before.
func (d drops) since(before drops) drops {
	more := drops{}
	for reason, n := range d {
		if n > before[reason] {
			more[reason] = n - before[reason]
		}
	}
	return more
}

// holds reports whether there are at least so many of each.
func (d drops) holds(want drops) bool {
	for reason, n := range want {
		if d[reason] < n {
			return false
		}
	}
	return true
}

// String lists them, for the report: "100 spoofed-ip".
func (d drops) String() string {
	var text string
	for _, reason := range slices.Sorted(maps.Keys(d)) {
		text += fmt.Sprintf(", %d %s", d[reason], reason)
	}
	if text == "" {
		return "none"
	}
	return text[2:]
}
