package flows

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/roster"
)

// fakeSwitch has the counters a test gives it.
type fakeSwitch struct {
	mu    sync.Mutex
	flows []privnet.Flow
	drops []privnet.DropEntry
	reads int
	fail  error
}

func (f *fakeSwitch) Flows(context.Context) ([]privnet.Flow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return append([]privnet.Flow(nil), f.flows...), f.fail
}

func (f *fakeSwitch) DropEntries(context.Context) ([]privnet.DropEntry, error) {
	return f.drops, f.fail
}

func (f *fakeSwitch) set(flows ...privnet.Flow) (reads int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flows = flows
	return f.reads
}

var (
	network = platform.PrivateNetwork{ID: "pn-1", Key: 7}
	addrWeb = netip.MustParseAddr("10.240.0.1")
	addrAPI = netip.MustParseAddr("10.240.0.2")
	start   = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

// groups are "app type" by key.
type groups map[uint32]string

func (g groups) Lookup(key uint32) (appID, processType string, ok bool) {
	appID, processType, ok = strings.Cut(g[key], " ")
	return appID, processType, ok
}

type rig struct {
	*Service
	sw     *fakeSwitch
	roster *roster.Roster
	apps   *directory.Directory
	now    time.Time
}

func newRig(t *testing.T, interval time.Duration) *rig {
	t.Helper()
	r := &rig{sw: &fakeSwitch{}, roster: roster.New(), apps: directory.New(), now: start}
	r.Service = New(Config{Switch: r.sw, Roster: r.roster, Directory: r.apps, Groups: groups{1: "ap-1 web", 2: "ap-2 api", 3: "ap-2 worker", 9: "ap-gone web"}, Interval: interval, Now: func() time.Time { return r.now }})
	r.apps.Put(directory.App{ID: "ap-1", Name: "shop-web"})
	r.apps.Put(directory.App{ID: "ap-2", Name: "catalog"})
	r.put("i-web", "ap-1", "web", 1, addrWeb)
	r.put("i-api", "ap-2", "api", 2, addrAPI)
	return r
}

func (r *rig) put(id, app, kind string, number int, addr netip.Addr) {
	r.roster.Put(platform.Instance{ID: id, NetworkID: network.ID, AppID: app, AppName: "name-at-its-start", Type: kind, Number: number, PrivateAddr: addr, CreatedAt: r.now})
}

func (r *rig) flow(packets uint64, verdict privnet.Verdict) privnet.Flow {
	return privnet.Flow{Network: network.Key, From: addrWeb, To: addrAPI, Protocol: 6, Port: 3000, Packets: packets, Bytes: packets * 100,
		ReplyPackets: packets * 2, ReplyBytes: packets * 200, Verdict: verdict, LastSeen: r.now}
}

func TestFlowsAreNamed(t *testing.T) {
	r := newRig(t, time.Second)
	other := r.flow(9, privnet.Allowed)
	other.Network = 8
	older := r.flow(2, privnet.Denied)
	older.From, older.LastSeen, older.Protocol, older.Port = netip.MustParseAddr("10.240.3.3"), start.Add(-time.Second), 1, 0
	r.sw.set(older, r.flow(1, privnet.WouldDeny), other)
	got, err := r.Flows(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	web := platform.Member{Addr: addrWeb, AppID: "ap-1", App: "shop-web", Type: "web", Number: 1}
	api := platform.Member{Addr: addrAPI, AppID: "ap-2", App: "catalog", Type: "api", Number: 2}
	want := []platform.Flow{
		{From: web, To: api, Service: platform.Service{Protocol: platform.TCP, Port: 3000}, Packets: 1, Bytes: 100, ReplyPackets: 2, ReplyBytes: 200, Verdict: platform.WouldDeny, LastSeen: start},
		// The server's container is younger than that flow: it was another's.
		{From: platform.Member{Addr: older.From}, To: platform.Member{Addr: addrAPI}, Service: platform.Service{Protocol: platform.ICMP}, Packets: 2, Bytes: 200, ReplyPackets: 4, ReplyBytes: 400,
			Verdict: platform.Denied, LastSeen: older.LastSeen},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got[0].From.String() != "shop-web/web/1" || got[1].From.String() != "10.240.3.3" {
		t.Errorf("members are %s and %s", got[0].From, got[1].From)
	}
	r.apps.Put(directory.App{ID: "ap-2", Name: "inventory"})
	if got, _ = r.Flows(t.Context(), network); got[0].To.String() != "inventory/api/2" {
		t.Errorf("after a rename the server is %s", got[0].To)
	}
}

func TestDropsAreNamed(t *testing.T) {
	r := newRig(t, time.Second)
	r.sw.drops = []privnet.DropEntry{
		{Network: 8, From: addrWeb, Reason: privnet.VLAN, Count: 1, LastSeen: start},
		{Network: 7, From: addrWeb, To: netip.MustParseAddr("10.240.2.2"), Reason: privnet.UnknownDestination, Count: 3, LastSeen: start},
		{Network: 7, From: addrWeb, Reason: privnet.IPv6, Count: 4, LastSeen: start.Add(time.Second)},
		{Network: 7, From: addrWeb, To: netip.IPv4Unspecified(), Reason: privnet.VLAN, Count: 5, LastSeen: start.Add(-time.Second)},
	}
	got, err := r.Drops(t.Context(), network)
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	if d := got[0]; d.Reason != "ipv6" || d.From.String() != "shop-web/web/1" || d.To.String() != "-" || d.Count != 4 {
		t.Errorf("drop is %+v", d)
	}
	if d := got[1]; d.Reason != "unknown-destination" || d.To.String() != "10.240.2.2" || d.Count != 3 {
		t.Errorf("drop is %+v", d)
	}
	if d := got[2]; d.To != (platform.Member{}) || d.Count != 5 {
		t.Errorf("drop is %+v", d)
	}
	r.sw.fail = errors.New("no table")
	if _, err := r.Drops(t.Context(), network); err == nil {
		t.Error("an error became an empty list")
	}
	if _, err := r.Flows(t.Context(), network); err == nil {
		t.Error("an error became an empty list")
	}
}

func TestAnAddressIsNamedAfterWhoHadItThen(t *testing.T) {
	r := newRig(t, time.Second)
	name := func(at time.Time) string { return r.namer(network)(addrWeb, 0, at).String() }
	if name(start) != "shop-web/web/1" {
		t.Fatalf("it is %s", name(start))
	}
	r.now = start.Add(time.Minute)
	r.roster.Delete("i-web")
	if name(start) != "shop-web/web/1" {
		t.Errorf("just gone, it is %s", name(start))
	}
	r.now = start.Add(3 * time.Minute)
	r.put("i-new", "ap-2", "worker", 5, addrWeb)
	if got, want := name(r.now), "catalog/worker/5"; got != want {
		t.Errorf("its new owner is %s, want %s", got, want)
	}
	if got := name(start.Add(30 * time.Second)); got != "shop-web/web/1" {
		t.Errorf("what was seen before is %s's", got)
	}
	r.now = start.Add(17 * time.Minute)
	if got := name(start.Add(30 * time.Second)); got != addrWeb.String() {
		t.Errorf("remembered for longer than it should: %s", got)
	}
	if got := r.namer(platform.PrivateNetwork{ID: "pn-2"})(addrWeb, 0, r.now).String(); got != addrWeb.String() {
		t.Errorf("in another network the address is %s", got)
	}
	r.roster.Delete("i-new")
	r.roster.Delete("i-api")
	name(r.now)
	r.now = r.now.Add(time.Hour)
	name(r.now)
	if len(r.tenants.byAddr) != 0 {
		t.Errorf("never forgotten: %+v", r.tenants.byAddr)
	}
}

// A container may wait for an address that another of its type still has.
func TestAnAddressThatWasWaitedForIsNotNamedAfterWhoWaited(t *testing.T) {
	r := newRig(t, time.Second)
	name := func(at time.Time) string { return r.namer(network)(addrWeb, 1, at).String() }
	waits := platform.Instance{ID: "i-waits", NetworkID: network.ID, AppID: "ap-1", AppName: "shop-web", Type: "web", Number: 2, CreatedAt: start}
	r.roster.Put(waits)
	name(start)
	r.now = start.Add(30 * time.Second)
	r.roster.Delete("i-web")
	name(start)
	r.now = start.Add(91 * time.Second)
	waits.PrivateAddr = addrWeb
	r.roster.Put(waits)
	if got := name(start.Add(20 * time.Second)); got != "shop-web/web/1" {
		t.Errorf("what was seen before is %s's", got)
	}
	if got := name(r.now); got != "shop-web/web/2" {
		t.Errorf("what is seen now is %s's", got)
	}
}

// The switch knows which process type an address belonged to, also when nobody
// here remembers the container: it went away before a restart of the server.
func TestAGroupTellsWhoWasNotSeen(t *testing.T) {
	r := newRig(t, time.Second)
	for _, tt := range []struct {
		addr  netip.Addr
		group uint32
		want  string
	}{
		{addrWeb, 1, "shop-web/web/1"},
		{addrWeb, 3, "catalog/worker/?"}, // another had the address before
		{netip.MustParseAddr("10.240.3.9"), 2, "catalog/api/?"},
		{netip.MustParseAddr("10.240.3.9"), 0, "10.240.3.9"},
		{netip.MustParseAddr("10.240.3.9"), 9, "10.240.3.9"},
		{netip.Addr{}, 0, "-"},
	} {
		if got := r.namer(network)(tt.addr, tt.group, start).String(); got != tt.want {
			t.Errorf("%s of group %d is %s, want %s", tt.addr, tt.group, got, tt.want)
		}
	}
}

func TestRunRemembersWhoNobodyAskedAbout(t *testing.T) {
	r := newRig(t, time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	known := func() bool {
		r.tenants.mu.Lock()
		defer r.tenants.mu.Unlock()
		return len(r.tenants.byAddr) == 2
	}
	for end := time.Now().Add(10 * time.Second); !known(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the roster was not looked at")
		}
	}
	r.roster.Delete("i-web")
	if got := r.namer(network)(addrWeb, 0, start).String(); got != "shop-web/web/1" {
		t.Errorf("it is %s", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestFollowTellsWhatIsNewSinceTheLastLook(t *testing.T) {
	const interval = 2 * time.Millisecond
	r := newRig(t, interval)
	r.Now = time.Now
	r.sw.set(r.flow(5, privnet.Allowed))
	steps := []struct {
		set  privnet.Flow
		want uint64
	}{{r.flow(8, privnet.Allowed), 3}, {r.flow(2, privnet.Denied), 2}, {r.flow(1, privnet.Denied), 1}}
	done := errors.New("done")
	step, first := 0, true
	err := r.Follow(t.Context(), network, func(flows []platform.Flow) error {
		if first {
			if flows != nil {
				t.Errorf("at first it tells of %+v", flows)
			}
			first = false
			r.sw.set(steps[0].set)
			return nil
		}
		if len(flows) == 0 {
			return nil
		}
		f := flows[0]
		if len(flows) != 1 || f.Packets != steps[step].want || f.ReplyPackets != 2*f.Packets || f.Bytes != 100*f.Packets || f.ReplyBytes != 200*f.Packets {
			t.Errorf("step %d tells of %+v", step, flows)
		}
		if step++; step == len(steps) {
			return done
		}
		r.sw.set(steps[step].set)
		return nil
	})
	if !errors.Is(err, done) {
		t.Errorf("ended with %v", err)
	}
}

func TestFollowersThatBeginTogetherReadTheSwitchOnce(t *testing.T) {
	r := newRig(t, time.Second)
	began := errors.New("began")
	for range 3 {
		if err := r.Follow(t.Context(), network, func([]platform.Flow) error { return began }); !errors.Is(err, began) {
			t.Fatal(err)
		}
	}
	if reads := r.sw.set(); reads != 1 {
		t.Errorf("the switch was read %d times", reads)
	}
	r.now = r.now.Add(r.Interval / 4)
	if _, err := r.Flows(t.Context(), network); err != nil || r.sw.set() != 2 {
		t.Errorf("later it was read %d times, %v", r.sw.set(), err)
	}
}

func TestManyFollowersReadTheSwitchAsOftenAsOne(t *testing.T) {
	r := newRig(t, 20*time.Millisecond)
	r.Now = time.Now
	r.sw.set(r.flow(1, privnet.Allowed))
	var all sync.WaitGroup
	var looks [20]int
	began := time.Now()
	for i := range looks {
		all.Go(func() {
			done := errors.New("done")
			_ = r.Follow(t.Context(), network, func([]platform.Flow) error {
				if looks[i]++; looks[i] > 10 {
					return done
				}
				return nil
			})
		})
	}
	all.Wait()
	// A quarter of an interval is the least time between two.
	most := int(time.Since(began)/(r.Interval/4)) + 1
	if reads := r.sw.set(); reads > most {
		t.Errorf("%d followers made the switch be read %d times in %s, at most %d are fine", len(looks), reads, time.Since(began), most)
	}
}
