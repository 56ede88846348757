package outside_test

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/outside"
)

func TestConflictAndHiddenRanges(t *testing.T) {
	r := newRig(t)
	cfg := outside.Config{Prefix: netip.MustParsePrefix("172.17.0.0/16")}
	look := func() (hidden []string, conflict error) {
		r.in(r.node(), func() (err error) {
			conflict = outside.Conflict(cfg)
			hidden, err = outside.HiddenByPrivate(cfg)
			return err
		})
		return hidden, conflict
	}
	if hidden, conflict := look(); conflict != nil || len(hidden) > 0 {
		t.Errorf("our own network is in our way: %v, %q", conflict, hidden)
	}
	r.run(r.node(), "ip route add 172.17.40.0/24 via 203.0.113.1; ip route add 10.240.2.0/24 via 203.0.113.1")
	hidden, conflict := look()
	if conflict == nil || !strings.Contains(conflict.Error(), "172.17.40.0/24") {
		t.Errorf("the conflict is %v", conflict)
	}
	if !slices.Equal(hidden, []string{"10.240.2.0/24, which the interface uplink0 has"}) {
		t.Errorf("hidden are %q", hidden)
	}
	// Of a larger range, the rest can be reached.
	r.run(r.node(), "ip route del 10.240.2.0/24; ip route add 10.0.0.0/8 via 203.0.113.1")
	if hidden, _ := look(); !slices.Equal(hidden, []string{"10.240.0.0/22, which the interface uplink0 has"}) {
		t.Errorf("hidden are %q", hidden)
	}
}

func TestProbeLeavesNothing(t *testing.T) {
	lab.NeedRoot(t)
	links := func() string {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for line := range strings.Lines(string(text)) {
			name, _, _ := strings.Cut(line, ":")
			names = append(names, strings.TrimSpace(name))
		}
		return strings.Join(names, " ")
	}
	home, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	before := links()
	if err := outside.Probe(outside.Config{Prefix: netip.MustParsePrefix("172.17.0.0/16")}); err != nil {
		t.Error(err)
	}
	if err := outside.Probe(outside.Config{Prefix: netip.MustParsePrefix("10.240.0.0/16")}); err == nil {
		t.Error("the private range can be tried")
	}
	if after := links(); after != before {
		t.Errorf("interfaces were %s and are %s", before, after)
	}
	if now, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || now != home {
		t.Errorf("this thread is in %s (%v), was in %s", now, err, home)
	}
}

func TestTheMTUChanges(t *testing.T) {
	r := newRig(t)
	r.attach("old", "172.17.0.2", 0)
	r.net = r.open(outside.Config{MTU: 1400})
	r.attach("new", "172.17.0.3", 0)
	if text := r.run(r.node(), "ip -o link show dev atoll0"); !strings.Contains(text, "mtu 1400") {
		t.Errorf("the bridge is %s", text)
	}
	links := r.run(r.node(), "ip -o link show master atoll0")
	if strings.Count(links, "mtu 1400") != 1 || strings.Count(links, "mtu 1500") != 1 {
		t.Errorf("a container keeps its MTU, a new one has the new one; the ports are\n%s", links)
	}
}
