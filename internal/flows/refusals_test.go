package flows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/store"
)

// shop is a project in dry-run with the apps shop-web and catalog, whose types
// web, cron and api are the groups 1, 4 and 2.
type shop struct {
	*Refusals
	*rig
	t       *testing.T
	store   *store.Store
	user    platform.User
	project platform.Project
	catalog platform.App
}

func newShop(t *testing.T) *shop {
	t.Helper()
	ctx := t.Context()
	st, err := store.Open(ctx, filepath.Join(t.TempDir(), "atoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if _, err := st.EnsureStack(ctx, store.Stack{Name: "atoll-12", BaseImage: "x", Default: true}); err != nil {
		t.Fatal(err)
	}
	s := &shop{rig: newRig(t, time.Nanosecond), t: t, store: st}
	if s.user, err = st.CreateUser(ctx, "ada", "ada@example.test", "", ""); err != nil {
		t.Fatal(err)
	}
	if s.project, err = st.DefaultProject(ctx, s.user.ID); err != nil {
		t.Fatal(err)
	}
	web, err := st.CreateApp(ctx, s.user, "shop-web", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if s.catalog, err = st.CreateApp(ctx, s.user, "catalog", "", ""); err != nil {
		t.Fatal(err)
	}
	for _, app := range []platform.App{web, s.catalog} {
		s.apps.Put(directory.App{ID: app.ID, Name: app.Name})
	}
	s.Groups = groups{1: web.ID + " web", 2: s.catalog.ID + " api", 4: web.ID + " cron", 9: "ap-gone web"}
	s.mode(platform.PolicyDryRun)
	s.restart()
	return s
}

// restart is what a new process does.
func (s *shop) restart() {
	s.Refusals = NewRefusals(RefusalsConfig{Flows: s.Service, Ledger: s.store, Log: slog.New(slog.DiscardHandler)})
}

func (s *shop) mode(mode platform.PolicyMode) {
	s.t.Helper()
	if err := s.store.SetPolicyMode(s.t.Context(), s.user, s.project.ID, mode); err != nil {
		s.t.Fatal(err)
	}
}

// look lets some time pass and notes what the switch has counted then.
func (s *shop) look(flows ...privnet.Flow) {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	s.sw.set(flows...)
	if err := s.note(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// refused is what web sent to a TCP port of api; half went back.
func (s *shop) refused(port uint16, packets uint64) privnet.Flow {
	return privnet.Flow{Network: s.project.Network.Key, From: addrWeb, To: addrAPI, FromGroup: 1, ToGroup: 2, Protocol: 6, Port: port,
		Packets: packets / 2, ReplyPackets: packets - packets/2, Verdict: privnet.WouldDeny, LastSeen: s.now}
}

func (s *shop) list() []platform.Refusal {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	list, err := s.List(s.t.Context(), s.project)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

func (s *shop) want(when string, want ...string) {
	s.t.Helper()
	var got []string
	for _, r := range s.list() {
		got = append(got, fmt.Sprintf("%s:%s -> %s:%s %s %d", r.From.App, r.From.Type, r.To.App, r.To.Type, r.Service, r.Packets))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// What the kernel forgets under load is what an operator waits for: the one
// connection of a nightly task.
func TestRefusalsOutliveTheSwitchsMemoryAndTheProcess(t *testing.T) {
	s := newShop(t)
	s.look(s.refused(3000, 5))
	s.want("counted", "shop-web:web -> catalog:api 3000/tcp 5")
	s.look(s.refused(3000, 7))
	s.want("counted on", "shop-web:web -> catalog:api 3000/tcp 7")
	seen := s.list()[0].LastSeen
	s.look()
	s.want("forgotten by the switch", "shop-web:web -> catalog:api 3000/tcp 7")
	s.look(s.refused(3000, 2))
	s.want("seen again", "shop-web:web -> catalog:api 3000/tcp 9")
	if again := s.list()[0].LastSeen; !again.After(seen) {
		t.Errorf("last seen at %s, after it was seen again at %s", seen, again)
	}
	s.restart()
	s.want("before a new process looks", "shop-web:web -> catalog:api 3000/tcp 9")
	s.look(s.refused(3000, 3))
	s.want("the switch's counters, a part of which was counted", "shop-web:web -> catalog:api 3000/tcp 9")
	s.look(s.refused(3000, 4))
	s.want("one packet more", "shop-web:web -> catalog:api 3000/tcp 10")

	// What nobody noted yet is there too.
	s.sw.set(s.refused(3000, 5), s.refused(9000, 1))
	s.want("not noted", "shop-web:web -> catalog:api 3000/tcp 11", "shop-web:web -> catalog:api 9000/tcp 1")
	s.want("asked twice", "shop-web:web -> catalog:api 3000/tcp 11", "shop-web:web -> catalog:api 9000/tcp 1")
}

func TestOnlyWhatThePolicyRefusesNowIsListed(t *testing.T) {
	s := newShop(t)
	denied, allowed, foreign, gone, ping := s.refused(4000, 1), s.refused(5000, 1), s.refused(6000, 1), s.refused(7000, 1), s.refused(0, 2)
	denied.Verdict, allowed.Verdict, foreign.Network, gone.FromGroup, ping.Protocol = privnet.Denied, privnet.Allowed, 99, 9, 1
	scan, fragment := s.refused(0, 300), s.refused(0, 4)
	scan.Protocol, fragment.Protocol = 0, 17
	s.look(s.refused(3000, 1), denied, allowed, foreign, gone, ping, scan, fragment)
	all := []string{"shop-web:web -> catalog:api * 300", "shop-web:web -> catalog:api icmp 2", "shop-web:web -> catalog:api 3000/tcp 1", "shop-web:web -> catalog:api */udp 4"}
	s.want("in dry-run", all...)
	rule, err := platform.ParseRule("shop-web:web -> catalog:* 3000")
	if err != nil {
		t.Fatal(err)
	}
	if rule, err = s.store.AddRule(t.Context(), s.user, s.project.ID, rule); err != nil {
		t.Fatal(err)
	}
	s.want("with a rule", all[0], all[1], all[3])
	if err := s.store.DeleteRule(t.Context(), s.user, s.project.ID, rule.ID); err != nil {
		t.Fatal(err)
	}
	s.want("with the rule removed", all...)
	s.mode(platform.PolicyDeny)
	s.want("in deny", "shop-web:web -> catalog:api 4000/tcp 1")
	reads := s.sw.set()
	s.mode(platform.PolicyOpen)
	s.want("open")
	if err := s.note(t.Context()); err != nil || s.sw.set() != reads {
		t.Errorf("the switch was asked although everything is open, %v", err)
	}
	s.mode(platform.PolicyDryRun)
	s.want("in dry-run again", all...)
	if err := s.store.DeleteApp(t.Context(), s.user, s.catalog.ID); err != nil {
		t.Fatal(err)
	}
	s.apps.Delete(s.catalog.ID)
	s.want("with the app gone")
	s.look(s.refused(3000, 5))
	s.want("with the app gone and its last packets")
}

func TestAScanDoesNotPushOutOthers(t *testing.T) {
	s := newShop(t)
	nightly := s.refused(5432, 3)
	nightly.FromGroup = 4
	s.look(nightly)
	for port := uint16(1); port < 2000; {
		var scan []privnet.Flow
		for range 400 {
			scan = append(scan, s.refused(port, 1))
			port++
		}
		s.look(scan...)
	}
	check := func(when string) {
		t.Helper()
		list := s.list()
		if len(list) != platform.MaxRefusals {
			t.Errorf("%s: %d are listed", when, len(list))
		}
		latest, found := list[0].Service.Port, false
		for _, r := range list {
			found = found || r.From.Type == "cron"
		}
		if !found || latest < 1600 {
			t.Errorf("%s: the latest is port %d; the nightly task is there: %v", when, latest, found)
		}
	}
	check("after a scan")
	s.restart()
	check("from the disk")
	s.now = s.now.Add(platform.RefusalMemory + time.Hour)
	s.look(s.refused(80, 1))
	s.want("more than a month later", "shop-web:web -> catalog:api 80/tcp 1")
	if kept, err := s.store.Refusals(t.Context(), s.project.ID); err != nil || len(kept) != 1 {
		t.Errorf("%d are kept, %v", len(kept), err)
	}
}

// full is a store that cannot write.
type full struct {
	*store.Store
	writes int
}

func (f *full) KeepRefusals(context.Context, []platform.Refusal, []platform.Refusal) error {
	f.writes++
	return errors.New("the disk is full")
}

func TestWhatCannotBeWrittenIsTriedAgain(t *testing.T) {
	s := newShop(t)
	s.sw.set(s.refused(3000, 5))
	s.Ledger = &full{Store: s.store}
	if err := s.note(t.Context()); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Fatalf("noted: %v", err)
	}
	s.Ledger = s.store
	s.look(s.refused(3000, 5))
	s.want("when there is room again", "shop-web:web -> catalog:api 3000/tcp 5")
	// Nothing new is nothing to write.
	none := &full{Store: s.store}
	s.Ledger = none
	if err := s.note(t.Context()); err != nil || none.writes > 0 {
		t.Errorf("written %d times, %v", none.writes, err)
	}
	s.sw.mu.Lock()
	s.sw.fail = errors.New("no table")
	s.sw.mu.Unlock()
	s.now = s.now.Add(time.Second)
	if _, err := s.List(t.Context(), s.project); err == nil {
		t.Error("an error became an empty list")
	}
}

func TestRunNotesWhatNobodyAskedFor(t *testing.T) {
	s := newShop(t)
	s.sw.set(s.refused(3000, 5))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Refusals.Run(ctx) }()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if kept, err := s.store.Refusals(t.Context(), s.project.ID); err != nil || time.Now().After(end) {
			t.Fatalf("%+v, %v", kept, err)
		} else if len(kept) == 1 {
			break
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
