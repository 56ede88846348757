package privnet

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

func TestTablesChangeSize(t *testing.T) {
	cfg := newConfig(t)
	cfg.MaxMembers = 2
	s := open(t, cfg)
	a, b := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	third := newBox(t)
	third.addr = LastAddr
	if err := s.Attach(context.Background(), third.endpoint(1)); err == nil || !strings.Contains(err.Error(), "raise MaxMembers") {
		t.Errorf("one more than fits: %v", err)
	}
	s.Close()

	cfg.MaxMembers = 8
	for range 2 { // migrated, then found as it should be
		s = open(t, cfg)
		if d := compare(t, s); len(d.Pieces) != 0 {
			t.Errorf("not pinned: %v", d.Pieces)
		}
		if err := a.ping(b.addr, 8, patience); err != nil {
			t.Error(err)
		}
		if r := set(t, s, a.endpoint(1), b.endpoint(1)); r.Changed() {
			t.Errorf("changed %+v", r)
		}
		s.Close()
	}
	s = open(t, cfg)
	if err := s.Attach(context.Background(), third.endpoint(1)); err != nil {
		t.Error(err)
	}
	if err := a.ping(third.addr, 8, patience); err != nil {
		t.Error(err)
	}
	s.Close()
	cfg.MaxMembers = 2
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "raise MaxMembers") {
		t.Errorf("fewer than there are: %v", err)
	}
	if err := a.ping(third.addr, 8, patience); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
}

func TestTablesOfAnotherVersion(t *testing.T) {
	cfg := newConfig(t)
	s := open(t, cfg)
	a, b := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	path := pinDir(cfg.BPFFS) + "/" + bpf.SwitchMapPnMembers
	spec, err := bpf.LoadSwitch()
	if err != nil {
		t.Fatal(err)
	}
	other := spec.Maps[bpf.SwitchMapPnMembers]
	other.ValueSize, other.Value = 64, nil
	m, err := newTable(other)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := m.Pin(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); !errors.Is(err, ErrIncompatible) {
		t.Errorf("error %v", err)
	}
	if err := a.ping(b.addr, 8, patience); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
}

func TestDestroyLeavesNothing(t *testing.T) {
	cfg := newConfig(t)
	s := open(t, cfg)
	a := member(t, s, 1, "10.240.0.1")
	s.Close()
	for range 2 {
		if err := Destroy(cfg); err != nil {
			t.Fatal(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{cfg.Netns, cfg.BPFFS} {
		if strings.Contains(string(mounts), path) {
			t.Errorf("%s is still mounted", path)
		}
	}
	a.do(func() error {
		if _, err := netlink.LinkByName(Interface); err == nil {
			t.Errorf("%s is still there", Interface)
		}
		return nil
	})
	// And it can be made again, with entries that nothing old shines through.
	s = open(t, cfg)
	if r := set(t, s, a.endpoint(1)); len(r.Attached) != 1 {
		t.Errorf("report %+v", r)
	}
}
