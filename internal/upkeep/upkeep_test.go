package upkeep

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/sandbox"
)

// plan is what a node is made to say.
type plan struct {
	report    sandbox.Report
	err       error
	workloads []string
	accepted  []bool
	events    int
	looks     chan struct{}
	log       bytes.Buffer
}

func (p *plan) Repair(_ context.Context, o sandbox.Options) (sandbox.Report, error) {
	p.accepted = append(p.accepted, o.Accept)
	select {
	case p.looks <- struct{}{}:
	default:
	}
	return p.report, p.err
}

func newPlan(t *testing.T) (*plan, Config) {
	p := &plan{looks: make(chan struct{}, 100)}
	return p, Config{
		Networks: p, Containers: func() map[string]bool { return nil },
		Obstacles: func(context.Context) ([]outside.Obstacle, error) { return nil, nil },
		Workloads: func(_ context.Context, accept bool) ([]string, error) {
			if accept {
				p.workloads = nil
			}
			return p.workloads, nil
		},
		Refused: func(context.Context, State) error { p.events++; return nil },
		RunDir:  t.TempDir(), Log: slog.New(slog.NewTextHandler(&p.log, nil)),
	}
}

func TestARefusalIsToldOnceAndStandsInTheState(t *testing.T) {
	p, cfg := newPlan(t)
	u := New(cfg)
	if s := u.Look(t.Context()); !s.Healthy() || p.events != 0 {
		t.Fatalf("state is %+v after %d events, want a healthy one", s, p.events)
	}
	p.report.Refused = []sandbox.Refusal{{Network: 7, Containers: []string{"a"}, Of: 1}}
	for range 3 {
		if s := u.Look(t.Context()); s.Healthy() {
			t.Error("a refusal is healthy")
		}
	}
	p.report.Refused = append(p.report.Refused, sandbox.Refusal{Network: 8, Containers: []string{"b"}, Of: 1})
	u.Look(t.Context())
	if p.events != 2 {
		t.Errorf("%d events, want one for each refusal", p.events)
	}
	written, err := ReadState(cfg.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(u.State(), written, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("the file differs from the state:\n%s", diff)
	}
	p.report.Refused = nil
	if s := u.Look(t.Context()); !s.Healthy() || s.Looks != 6 {
		t.Errorf("state is %+v, want a healthy one after 6 looks", s)
	}
}

func TestTheLastRepairIsRemembered(t *testing.T) {
	p, cfg := newPlan(t)
	u := New(cfg)
	if s := u.Look(t.Context()); s.LastRepair != nil {
		t.Errorf("before any: %+v", s.LastRepair)
	}
	lost := sandbox.Finding{Where: "/run/atoll/bpf/privnet/pn_ports", What: "the table was not pinned any more"}
	p.report.Repaired = []sandbox.Finding{lost}
	then := u.Look(t.Context()).At
	p.report.Repaired = nil
	if s := u.Look(t.Context()); s.LastRepair == nil || s.LastRepair.Finding != lost || !s.LastRepair.At.Equal(then) {
		t.Errorf("afterwards: %+v, want %+v at %v", s.LastRepair, lost, then)
	}
	p.report.Removed = []sandbox.Finding{{Container: "stray"}}
	if s := u.Look(t.Context()); s.LastRepair.Container != "stray" || s.Repairs != 2 {
		t.Errorf("after a removal: %+v", s)
	}
}

func TestWorkloadsAreAskedForWhereTheyMatter(t *testing.T) {
	p, cfg := newPlan(t)
	p.workloads = []string{"w"}
	u := New(cfg)
	for range 2 {
		if s := u.Look(t.Context()); s.Healthy() || !slices.Equal(s.Workloads, []string{"w"}) {
			t.Errorf("state is %+v, want one with a refused workload", s)
		}
	}
	if n := strings.Count(p.log.String(), "REFUSED TO STOP"); n != 1 || p.events != 1 {
		t.Errorf("logged %d times with %d events, want once", n, p.events)
	}
	if err := Consent(cfg.RunDir); err != nil {
		t.Fatal(err)
	}
	if s := u.Look(t.Context()); !s.Healthy() {
		t.Errorf("state is %+v after it was accepted", s)
	}
	if want := []bool{false, false, true}; !slices.Equal(p.accepted, want) {
		t.Errorf("accepted: %v, want %v", p.accepted, want)
	}
}

func TestAnAcceptanceIsUsedOnceAndDoesNotWaitForEver(t *testing.T) {
	dir := t.TempDir()
	take := func(want bool) {
		t.Helper()
		if got, err := TakeConsent(dir); err != nil || got != want {
			t.Errorf("accepted: %v (%v), want %v", got, err, want)
		}
	}
	take(false)
	if err := Consent(dir); err != nil {
		t.Fatal(err)
	}
	take(true)
	take(false)
	if err := Consent(dir); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-ConsentLife - time.Second)
	if err := os.Chtimes(consentFile(dir), old, old); err != nil {
		t.Fatal(err)
	}
	take(false)
	if _, err := os.Stat(consentFile(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("an old acceptance is left")
	}
	// The start of the server used one; the first look has it, too.
	p, cfg := newPlan(t)
	cfg.Accepted = true
	u := New(cfg)
	u.Look(t.Context())
	u.Look(t.Context())
	if want := []bool{true, false}; !slices.Equal(p.accepted, want) {
		t.Errorf("accepted: %v, want %v", p.accepted, want)
	}
}

func TestLooksGoOnAfterAnError(t *testing.T) {
	p, cfg := newPlan(t)
	p.err, cfg.Every = errors.New("no nft"), time.Millisecond
	u := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- u.Run(ctx) }()
	for range 5 {
		<-p.looks
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if s := u.State(); s.Healthy() || !strings.Contains(s.Error, "no nft") {
		t.Errorf("state is %+v, want one with the error", s)
	}
	if n := strings.Count(p.log.String(), "no nft"); n != 1 {
		t.Errorf("the error was logged %d times, want once", n)
	}
}

func TestLooksThatTakeLongAreRarer(t *testing.T) {
	u := New(Config{Every: 30 * time.Second})
	for took, want := range map[time.Duration]time.Duration{
		0: 30 * time.Second, time.Second: 30 * time.Second, 2 * time.Second: 38 * time.Second, 10 * time.Second: 190 * time.Second,
	} {
		if got := u.pause(took); got != want {
			t.Errorf("after a look of %v the next is %v later, want %v", took, got, want)
		}
	}
}
