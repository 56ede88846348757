package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/store"
)

// fakeSwitch remembers what it was told last.
type fakeSwitch struct {
	mu    sync.Mutex
	have  []privnet.Policy
	calls int
	fail  error
}

func (f *fakeSwitch) SetPolicies(ctx context.Context, policies []privnet.Policy) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.fail != nil {
		return f.fail
	}
	f.have = policies
	return ctx.Err()
}

func (f *fakeSwitch) set(fail error) (calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
	return f.calls
}

func (f *fakeSwitch) last() []privnet.Policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have
}

// shop is a project with two apps and a service over a fake switch.
type shop struct {
	*Service
	t         *testing.T
	sw        *fakeSwitch
	user      platform.User
	project   platform.Project
	web, list platform.App
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
	s := &shop{t: t, sw: &fakeSwitch{}}
	s.Service = New(Config{Store: st, Switch: s.sw, Log: slog.New(slog.DiscardHandler), Retry: time.Millisecond})
	if s.user, err = st.CreateUser(ctx, "ada", "ada@example.test", "", ""); err != nil {
		t.Fatal(err)
	}
	if s.project, err = st.DefaultProject(ctx, s.user.ID); err != nil {
		t.Fatal(err)
	}
	for name, app := range map[string]*platform.App{"shop-web": &s.web, "catalog": &s.list} {
		if *app, err = st.CreateApp(ctx, s.user, name, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *shop) group(app platform.App, kind string) uint32 {
	s.t.Helper()
	key, err := s.Group(s.t.Context(), app.ID, kind)
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

func (s *shop) mode(mode platform.PolicyMode) {
	s.t.Helper()
	if err := s.SetMode(s.t.Context(), s.user, s.project.ID, mode); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) allow(text string) (platform.Rule, error) {
	s.t.Helper()
	r, err := platform.ParseRule(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.AddRule(s.t.Context(), s.user, s.project.ID, r)
}

// wantRules compares what the switch holds of the project.
func (s *shop) wantRules(mode privnet.Mode, rules ...privnet.Rule) {
	s.t.Helper()
	want := []privnet.Policy{{Network: s.project.Network.Key, Mode: mode, Rules: rules}}
	if diff := cmp.Diff(want, s.sw.last()); diff != "" {
		s.t.Errorf("the switch holds (-want +got):\n%s", diff)
	}
}

func TestTheSwitchHoldsEachChangeWhenItReturns(t *testing.T) {
	s := newShop(t)
	web, api := s.group(s.web, "web"), s.group(s.list, "api")
	if s.sw.last() != nil {
		t.Errorf("an open network is in %+v", s.sw.last())
	}
	s.mode(platform.PolicyDeny)
	s.wantRules(privnet.ModeEnforce)
	r, err := s.allow("shop-web:web -> catalog:api 3000/tcp")
	if err != nil {
		t.Fatal(err)
	}
	s.wantRules(privnet.ModeEnforce, privnet.Rule{From: web, To: api, Protocol: 6, Port: 3000})
	s.mode(platform.PolicyDryRun)
	s.wantRules(privnet.ModeDryRun, privnet.Rule{From: web, To: api, Protocol: 6, Port: 3000})
	if err := s.RemoveRule(t.Context(), s.user, s.project.ID, r.ID); err != nil {
		t.Fatal(err)
	}
	s.wantRules(privnet.ModeDryRun)
	s.mode(platform.PolicyOpen)
	if s.sw.last() != nil {
		t.Errorf("an open network is in %+v", s.sw.last())
	}
}

func TestAsterisksStandForWhatComesLater(t *testing.T) {
	s := newShop(t)
	web := s.group(s.web, "web")
	s.mode(platform.PolicyDeny)
	for _, text := range []string{"shop-web:* -> catalog:* 80", "*:cron -> * 53/udp", "* -> * icmp"} {
		if _, err := s.allow(text); err != nil {
			t.Fatal(err)
		}
	}
	icmp := privnet.Rule{Protocol: 1}
	// Other projects have process types of these names too.
	staging, err := s.Store.CreateProject(t.Context(), s.user, "staging", false)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := s.Store.CreateApp(t.Context(), s.user, "elsewhere", staging.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	s.group(elsewhere, "cron")
	s.wantRules(privnet.ModeEnforce, icmp)
	api := s.group(s.list, "api")
	s.wantRules(privnet.ModeEnforce, icmp, privnet.Rule{From: web, To: api, Protocol: 6, Port: 80})
	cron, calls := s.group(s.web, "cron"), s.sw.set(nil)
	s.wantRules(privnet.ModeEnforce, icmp, privnet.Rule{From: web, To: api, Protocol: 6, Port: 80},
		privnet.Rule{From: cron, Protocol: 17, Port: 53}, privnet.Rule{From: cron, To: api, Protocol: 6, Port: 80})
	s.group(s.web, "cron")
	if s.sw.set(nil) != calls {
		t.Error("a group that is known was told again")
	}
	if err := s.Store.DeleteApp(t.Context(), s.user, s.list.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wantRules(privnet.ModeEnforce, icmp, privnet.Rule{From: cron, Protocol: 17, Port: 53})
	for key, want := range map[uint32]string{web: s.web.ID + " web", api: s.list.ID + " api", 999: " "} {
		if app, kind, ok := s.Lookup(key); app+" "+kind != want || ok != (key != 999) {
			t.Errorf("group %d is %s %s, want %s", key, app, kind, want)
		}
	}
}

// Whoever asks for a new group waits until the switch knows it, also who was
// not the first to ask.
func TestAGroupIsInTheSwitchWhoeverAskedForItFirst(t *testing.T) {
	s := newShop(t)
	s.mode(platform.PolicyDeny)
	if _, err := s.allow("*:cron -> * 80"); err != nil {
		t.Fatal(err)
	}
	slow := &slowSwitch{asked: make(chan bool), goOn: make(chan bool)}
	s.Switch = slow
	var all sync.WaitGroup
	ask := func() {
		key, err := s.Group(t.Context(), s.web.ID, "cron")
		if have := slow.last(); err != nil || len(have) != 1 || len(have[0].Rules) != 1 || have[0].Rules[0].From != key {
			t.Errorf("with key %d, the switch holds %+v, %v", key, have, err)
		}
	}
	all.Go(ask)
	<-slow.asked
	all.Go(ask)
	time.Sleep(20 * time.Millisecond) // enough for one who would not wait
	close(slow.goOn)
	all.Wait()
	if slow.set(nil) != 1 {
		t.Errorf("the switch was told %d times", slow.set(nil))
	}

	// A switch that refused is told again by who asks next.
	s.sw.set(errors.New("no room in the table"))
	s.Switch = s.sw
	s.group(s.list, "cron")
	s.sw.set(nil)
	if key := s.group(s.list, "cron"); len(s.sw.last()[0].Rules) != 2 {
		t.Errorf("with key %d, the switch holds %+v", key, s.sw.last())
	}
}

// slowSwitch tells when it is asked the first time, and takes until goOn.
type slowSwitch struct {
	fakeSwitch
	asked, goOn chan bool
}

func (f *slowSwitch) SetPolicies(ctx context.Context, policies []privnet.Policy) error {
	close(f.asked)
	<-f.goOn
	return f.fakeSwitch.SetPolicies(ctx, policies)
}

func TestAFailureIsToldAndTriedAgain(t *testing.T) {
	s := newShop(t)
	s.sw.set(errors.New("no room in the table"))
	err := s.SetMode(t.Context(), s.user, s.project.ID, platform.PolicyDeny)
	if platform.CodeOf(err) != platform.CodeUnavailable || !strings.Contains(err.Error(), "no room in the table") {
		t.Fatalf("error is %v", err)
	}
	if p, err := s.Policy(t.Context(), s.project.ID); err != nil || p.Mode != platform.PolicyDeny {
		t.Fatalf("stored is %+v, %v", p, err)
	}
	if key := s.group(s.web, "web"); key == 0 {
		t.Error("no group while the switch refuses")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	calls := s.sw.set(errors.New("no room in the table"))
	go func() { ended <- s.Run(ctx) }()
	eventually(t, "a second attempt", func() bool { return s.sw.set(errors.New("still none")) > calls+1 })
	s.sw.set(nil)
	eventually(t, "the policy in the switch", func() bool { return len(s.sw.last()) == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}

func TestAChangeIsCarriedOutAlthoughItsCallerHasGone(t *testing.T) {
	s := newShop(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Apply(ctx); err != nil {
		t.Errorf("the switch was asked with a context that had ended: %v", err)
	}
}

func TestOthersCannotChangeAPolicy(t *testing.T) {
	s := newShop(t)
	eve, err := s.Store.CreateUser(t.Context(), "eve", "eve@example.test", "", "")
	if err != nil {
		t.Fatal(err)
	}
	_, ruleErr := s.AddRule(t.Context(), eve, s.project.ID, platform.Rule{From: platform.Party{App: "no-such-app"}})
	for what, err := range map[string]error{"rule": ruleErr, "mode": s.SetMode(t.Context(), eve, s.project.ID, platform.PolicyDeny),
		"removal": s.RemoveRule(t.Context(), eve, s.project.ID, "x")} {
		if platform.CodeOf(err) != platform.CodeNotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNobodysPolicyTakesTheRoomOfTheOthers(t *testing.T) {
	s := newShop(t)
	for i := range 91 {
		s.storedGroup(s.web, fmt.Sprintf("a%d", i))
		s.storedGroup(s.list, fmt.Sprintf("b%d", i))
	}
	s.mode(platform.PolicyDeny)
	_, err := s.allow("shop-web:* -> catalog:* 80")
	if platform.CodeOf(err) != platform.CodeConflict || !strings.Contains(err.Error(), "8281 pairs of process types, and 8192 is the limit: name apps") {
		t.Errorf("error is %v", err)
	}
	s.wantRules(privnet.ModeEnforce)
	if _, err := s.allow("* -> catalog:* 80"); err != nil {
		t.Error(err)
	}
}

// storedGroup makes a group that the switch is not told of yet.
func (s *shop) storedGroup(app platform.App, kind string) {
	s.t.Helper()
	if _, err := s.Store.EnsureGroup(s.t.Context(), app.ID, kind); err != nil {
		s.t.Fatal(err)
	}
}

// What outgrows the limit after its rule was added is cut: less passes, not
// more, nothing that passed before stops, and it is told.
func TestAPolicyThatOutgrowsTheSwitchIsToldOf(t *testing.T) {
	s := newShop(t)
	s.mode(platform.PolicyDeny)
	if _, err := s.allow("shop-web:* -> catalog:* 80"); err != nil {
		t.Fatal(err)
	}
	for i := range 90 {
		s.storedGroup(s.web, fmt.Sprintf("a%d", i))
		s.storedGroup(s.list, fmt.Sprintf("b%d", i))
	}
	apply := func() (entries map[privnet.Rule]bool, p platform.Policy) {
		t.Helper()
		if err := s.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		entries = map[privnet.Rule]bool{}
		for _, r := range s.sw.last()[0].Rules {
			entries[r] = true
		}
		p, err := s.Policy(t.Context(), s.project.ID)
		if err != nil {
			t.Fatal(err)
		}
		return entries, p
	}
	events := func() (types []string) {
		t.Helper()
		all, _, err := s.Store.UserEvents(t.Context(), s.user.ID, store.Page{Number: 1, PerPage: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if e.Type == store.EventPolicyTooLarge || e.Type == store.EventPolicyFits {
				types = append(types, e.Type)
			}
		}
		return types
	}
	before, p := apply()
	if len(before) != 8100 || p.Warning() != "" {
		t.Fatalf("%d entries, warning %q", len(before), p.Warning())
	}
	s.group(s.list, "last")
	s.group(s.web, "newest")
	for range 2 { // told once
		after, p := apply()
		if len(after) != platform.MaxPairs || !strings.Contains(p.Warning(), "stand for 8281 pairs of process types, and the network takes 8192") {
			t.Errorf("%d entries, warning %q", len(after), p.Warning())
		}
		for r := range before {
			if !after[r] {
				t.Fatalf("%+v passed before", r)
			}
		}
	}
	if diff := cmp.Diff([]string{store.EventPolicyTooLarge}, events()); diff != "" {
		t.Error(diff)
	}
	// In mode open there is nothing to cut, and in the next one there is again.
	s.mode(platform.PolicyOpen)
	if p, err := s.Policy(t.Context(), s.project.ID); err != nil || p.Warning() != "" {
		t.Errorf("open: %q, %v", p.Warning(), err)
	}
	s.mode(platform.PolicyDryRun)
	if diff := cmp.Diff([]string{store.EventPolicyTooLarge, store.EventPolicyFits, store.EventPolicyTooLarge}, events()); diff != "" {
		t.Error(diff)
	}
}

// Two rules may stand for the same pair.
func TestTheSamePairTwiceTakesNoRoom(t *testing.T) {
	s := newShop(t)
	s.mode(platform.PolicyDeny)
	for _, text := range []string{"shop-web:* -> catalog:* 80", "*:a0 -> catalog:* 80", "shop-web:* -> *:b0 80"} {
		if _, err := s.allow(text); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 90 {
		s.storedGroup(s.web, fmt.Sprintf("a%d", i))
		s.storedGroup(s.list, fmt.Sprintf("b%d", i))
	}
	if err := s.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := s.Policy(t.Context(), s.project.ID)
	if err != nil || p.Warning() != "" || len(s.sw.last()[0].Rules) != 8100 {
		t.Errorf("%d entries, warning %q, %v", len(s.sw.last()[0].Rules), p.Warning(), err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}
