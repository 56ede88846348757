package privnet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

func TestAttachIsIdempotent(t *testing.T) {
	s := open(t, newConfig(t))
	b := member(t, s, 1, "10.240.0.1")
	e := b.endpoint(1)
	before := list(t, s)
	if len(before) != 1 || !before[0].Up || !before[0].Program || !before[0].Member || before[0].ID != e.ID {
		t.Fatalf("after Attach the kernel holds %+v", before)
	}
	if err := s.Attach(context.Background(), e); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, list(t, s), cmpAddr); diff != "" {
		t.Errorf("attaching again changed (-before +after):\n%s", diff)
	}
	if r := set(t, s, e); r.Changed() {
		t.Errorf("setting the same changed %+v", r)
	}
	for range 2 {
		if err := s.Detach(context.Background(), e.ID); err != nil {
			t.Fatal(err)
		}
		if got := list(t, s); len(got) != 0 {
			t.Fatalf("after Detach the kernel holds %+v", got)
		}
	}
}

// Every part that can be missing or wrong is put right, and nothing else is
// said to have changed.
func TestRepairs(t *testing.T) {
	s := open(t, newConfig(t))
	b := member(t, s, 1, "10.240.0.1")
	other := member(t, s, 1, "10.240.0.2")
	other.answer("other")
	e := b.endpoint(1)
	host := func() netlink.Link {
		link, err := s.links.LinkByName(hostName(e.ID))
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	inBox := func(f func(link netlink.Link) error) func() {
		return func() {
			b.do(func() error {
				link, err := netlink.LinkByName(Interface)
				if err != nil {
					return err
				}
				return f(link)
			})
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key := bpf.SwitchMemberKey{Network: 1, Addr: addrWord(b.addr)}
	for name, damage := range map[string]func(){
		"no filter":     func() { check(s.links.QdiscDel(clsact(host()))) },
		"no port":       func() { check(remove(s.maps.ports, uint32(host().Attrs().Index))) },
		"no member":     func() { check(remove(s.maps.members, key)) },
		"host end down": func() { check(s.links.LinkSetDown(host())) },
		"no id":         func() { check(s.links.LinkSetAlias(host(), "")) },
		"other MTU":     func() { check(s.links.LinkSetMTU(host(), 1400)) },
		"no entries at all": func() {
			check(remove(s.maps.members, key))
			check(remove(s.maps.ports, uint32(host().Attrs().Index)))
		},
		"pn0 down":     inBox(func(l netlink.Link) error { return netlink.LinkSetDown(l) }),
		"pn0 of a MAC": inBox(func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, []byte{2, 0, 0, 0, 0, 9}) }),
		"pn0 bare": inBox(func(l netlink.Link) error {
			return netlink.AddrDel(l, &netlink.Addr{IPNet: host32(e)})
		}),
		"pn0 with another address": inBox(func(l netlink.Link) error {
			stranger := e
			stranger.Addr = LastAddr
			return netlink.AddrAdd(l, &netlink.Addr{IPNet: host32(stranger)})
		}),
		"other group": func() {
			port := bpf.SwitchPort{Network: 1, Addr: addrWord(b.addr), Mac: macWords(HardwareAddr(b.addr)), Group: 7}
			check(s.maps.ports.Put(uint32(host().Attrs().Index), port))
		},
		"half removed": func() { check(s.links.LinkSetGroup(host(), doomed)) },
		"no veth":      func() { check(s.links.LinkDel(host())) },
	} {
		t.Run(name, func(t *testing.T) {
			damage()
			seen := compare(t, s, e, other.endpoint(1))
			if got, want := len(seen.Damaged)+len(seen.Missing), 1; got != want || len(seen.Strays) != 0 {
				t.Errorf("compared: %+v", seen)
			}
			if again := compare(t, s, e, other.endpoint(1)); !cmp.Equal(seen, again) {
				t.Errorf("comparing changed something: %+v, then %+v", seen, again)
			}
			report := set(t, s, e, other.endpoint(1))
			if d := compare(t, s, e, other.endpoint(1)); !d.Empty() {
				t.Errorf("after Set: %+v", d)
			}
			if len(report.Repaired)+len(report.Attached) != 1 || len(report.Removed) != 0 {
				t.Errorf("report %+v", report)
			}
			if again := set(t, s, e, other.endpoint(1)); again.Changed() {
				t.Errorf("a second time: %+v", again)
			}
			if got, err := b.ask(other.addr, patience); got != "other" || err != nil {
				t.Errorf("afterwards: %q, %v", got, err)
			}
		})
	}
}

func TestSetRemovesStrays(t *testing.T) {
	s := open(t, newConfig(t))
	keep, drop := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	stray := netlink.NewVeth(netlink.NewLinkAttrs())
	stray.Name, stray.PeerName = "pnhalfmade", "pnhalfmade2"
	if err := s.links.LinkAdd(stray); err != nil {
		t.Fatal(err)
	}
	if err := s.maps.ports.Put(uint32(99999), bpf.SwitchPort{Network: 5}); err != nil {
		t.Fatal(err)
	}
	if err := s.maps.members.Put(bpf.SwitchMemberKey{Network: 5}, bpf.SwitchMember{Ifindex: 99999}); err != nil {
		t.Fatal(err)
	}
	seen := compare(t, s, keep.endpoint(1))
	report := set(t, s, keep.endpoint(1))
	if len(seen.Strays) != 3 || seen.Entries != 2 || len(seen.Missing)+len(seen.Damaged) != 0 {
		t.Errorf("compared: %+v", seen)
	}
	if got, want := sorted(report.Removed), sorted([]string{drop.endpoint(1).ID, "pnhalfmade", "pnhalfmade2"}); got != want &&
		got != sorted([]string{drop.endpoint(1).ID, "pnhalfmade"}) {
		t.Errorf("removed %s, want %s", got, want)
	}
	if report.Entries != 2 {
		t.Errorf("%d stray entries removed, want 2", report.Entries)
	}
	if got := list(t, s); len(got) != 1 || got[0].ID != keep.endpoint(1).ID {
		t.Errorf("left: %+v", got)
	}
	drop.do(func() error {
		if _, err := netlink.LinkByName(Interface); !errors.As(err, new(netlink.LinkNotFoundError)) {
			t.Errorf("the stray's %s: %v", Interface, err)
		}
		return nil
	})
}

func TestContainerGoesAway(t *testing.T) {
	s := open(t, newConfig(t))
	stays, goes := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	goes.remove()
	until(t, "the veth to go with its namespace", func() bool {
		links, err := s.hostEnds()
		return err == nil && len(links) == 1
	})
	if report := set(t, s, stays.endpoint(1)); report.Entries != 2 || len(report.Removed) != 0 {
		t.Errorf("report %+v, want its 2 entries removed", report)
	}

	// The same through Detach, which knows the endpoint by its id alone.
	goes = member(t, s, 1, "10.240.0.2")
	goes.remove()
	until(t, "the veth to go with its namespace", func() bool {
		links, err := s.hostEnds()
		return err == nil && len(links) == 1
	})
	if err := s.Detach(context.Background(), goes.endpoint(1).ID); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s); len(got) != 1 {
		t.Errorf("left: %+v", got)
	}

	// And one that comes back under its id, in another namespace.
	goes = member(t, s, 1, "10.240.0.2")
	goes.remove()
	back := newBox(t)
	back.addr = goes.addr
	if err := s.Attach(context.Background(), back.endpoint(1)); err != nil {
		t.Fatal(err)
	}
	if err := stays.ping(back.addr, 8, patience); err != nil {
		t.Error(err)
	}
}

func TestEndpointMoves(t *testing.T) {
	s := open(t, newConfig(t))
	a, b := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	ea, eb := a.endpoint(1), b.endpoint(1)
	ea.Addr, eb.Addr = eb.Addr, ea.Addr // swapped
	report := set(t, s, ea, eb)
	if len(report.Repaired) != 2 || len(report.Attached)+len(report.Removed) != 0 {
		t.Errorf("report %+v", report)
	}
	if err := a.ping(a.addr, 8, patience); err != nil { // now b's
		t.Error(err)
	}
	ea.Network = 2
	if err := s.Attach(context.Background(), ea); err != nil {
		t.Fatal(err)
	}
	if err := a.ping(a.addr, 8, quiet); err == nil {
		t.Error("reaches its former network")
	}
}

// A container that is made anew under its id, while the old namespace still is.
func TestEndpointChangesNamespace(t *testing.T) {
	s := open(t, newConfig(t))
	a, old := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	fresh := newBox(t)
	fresh.addr = old.addr
	for range 2 {
		if err := s.Attach(context.Background(), fresh.endpoint(1)); err != nil {
			t.Fatal(err)
		}
		fresh.counters() // it is there
		if err := a.ping(fresh.addr, 8, patience); err != nil {
			t.Error(err)
		}
		old.do(func() error {
			if _, err := netlink.LinkByName(Interface); err == nil {
				t.Error("it is in its former namespace too")
			}
			return nil
		})
		fresh, old = old, fresh // and back
	}
}

// After a restart, the entries of a container that then goes away are still
// found by its id.
func TestDetachAfterRestart(t *testing.T) {
	cfg := newConfig(t)
	s := open(t, cfg)
	goes := member(t, s, 1, "10.240.0.1")
	s.Close()
	s = open(t, cfg)
	goes.remove()
	until(t, "the veth to go with its namespace", func() bool {
		links, err := s.hostEnds()
		return err == nil && len(links) == 0
	})
	if got := list(t, s); len(got) != 1 || got[0].Link != "" || got[0].Addr != goes.addr {
		t.Errorf("the kernel holds %+v, want entries without a link", got)
	}
	if err := s.Detach(context.Background(), goes.endpoint(1).ID); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
}

func TestRefusals(t *testing.T) {
	s := open(t, newConfig(t))
	a := member(t, s, 1, "10.240.0.1")
	taken := newBox(t)
	e := Endpoint{ID: "taken", Network: 1, Addr: a.addr, ContainerNetns: taken.path}
	if err := s.Attach(context.Background(), e); !errors.Is(err, ErrAddressTaken) {
		t.Errorf("an address in use: %v", err)
	}
	e = Endpoint{ID: "occupied", Network: 1, Addr: LastAddr, ContainerNetns: a.path}
	if err := s.Attach(context.Background(), e); err == nil || !strings.Contains(err.Error(), "has an interface pn0 already") {
		t.Errorf("a namespace in use: %v", err)
	}
	b := member(t, s, 1, "10.240.0.2")
	e = a.endpoint(1)
	e.ContainerNetns = b.path
	if err := s.Attach(context.Background(), e); err == nil || !strings.Contains(err.Error(), "has an interface pn0 already") {
		t.Errorf("a namespace another endpoint uses: %v", err)
	}
	if err := a.ping(b.addr, 8, patience); err != nil {
		t.Errorf("after that refusal: %v", err)
	}
	e = Endpoint{ID: "occupied", Network: 1, Addr: LastAddr, ContainerNetns: "/nowhere"}
	if err := s.Attach(context.Background(), e); err == nil || !strings.Contains(err.Error(), "is the container gone?") {
		t.Errorf("no namespace: %v", err)
	}
	e.Addr = FirstAddr.Prev()
	if err := s.Attach(context.Background(), e); err == nil {
		t.Error("the network's own address was accepted")
	}
	if got := list(t, s); len(got) != 2 || !got[0].Member {
		t.Errorf("refusals left %+v", got)
	}
	if _, routes := a.has(t); len(routes) != 1 {
		t.Errorf("the namespace in use was touched: %v", routes)
	}
}

// Many are removed in one step, and what a process marked for removal that died
// before it did so is kept when it is wanted again.
func TestSetRemovesMany(t *testing.T) {
	s := open(t, newConfig(t))
	keep, other := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	const n = 20
	for i := range n {
		member(t, s, 2, fmt.Sprintf("10.240.1.%d", i+1))
	}
	link, err := s.links.LinkByName(hostName(keep.endpoint(1).ID))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.links.LinkSetGroup(link, doomed); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	report := set(t, s, keep.endpoint(1), other.endpoint(1))
	t.Logf("%d removed in %v", len(report.Removed), time.Since(start))
	if len(report.Removed) != n || len(report.Attached) != 0 {
		t.Errorf("report %+v", report)
	}
	if err := other.ping(keep.addr, 8, patience); err != nil {
		t.Error(err)
	}
	if again := set(t, s, keep.endpoint(1), other.endpoint(1)); again.Changed() {
		t.Errorf("a second Set did %+v", again)
	}
}

// One bad endpoint does not keep the others from being attached.
func TestSetGoesOn(t *testing.T) {
	s := open(t, newConfig(t))
	good := newBox(t)
	good.addr = FirstAddr
	gone := Endpoint{ID: "gone", Network: 1, Addr: LastAddr, ContainerNetns: "/nowhere"}
	if d := compare(t, s, gone, good.endpoint(1)); len(d.Missing) != 2 {
		t.Errorf("compared: %+v", d)
	}
	report, err := s.Set(context.Background(), []Endpoint{gone, good.endpoint(1)})
	if err == nil || !strings.Contains(err.Error(), "endpoint gone") {
		t.Errorf("error %v", err)
	}
	if len(report.Attached) != 1 {
		t.Errorf("report %+v", report)
	}
}
