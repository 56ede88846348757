package main

import (
	"net/netip"
	"sync"
	"time"
)

// phase counts the requests that were begun while the test did one thing.
type phase struct {
	name     string
	began    time.Time
	requests sync.WaitGroup

	mu       sync.Mutex
	sent     int
	failures []outcome
	sights   []sight
	slowest  time.Duration
	targets  map[string]int
}

// outcome is how a request went. Those that failed are told to the test.
type outcome struct {
	At     time.Time `json:"at"`
	Target string    `json:"target"`
	// ResolvedAt is when the name was asked for, to which Target was an
	// answer.
	ResolvedAt time.Time `json:"resolved_at"`
	Error      string    `json:"error"`

	took time.Duration
}

// sight is what the name resolved to, from a point in time on: asked at At, and
// answered before Until.
type sight struct {
	At    time.Time    `json:"at"`
	Until time.Time    `json:"until"`
	Addrs []netip.Addr `json:"addrs"`
}

// report is what the test is told of a phase.
type report struct {
	Phase    string         `json:"phase"`
	Began    time.Time      `json:"began"`
	Ended    time.Time      `json:"ended"`
	Sent     int            `json:"sent"`
	Failures []outcome      `json:"failures"`
	Slowest  time.Duration  `json:"slowest"`
	Targets  map[string]int `json:"targets"`
	Names    []sight        `json:"names"`
}

func newPhase(name string) *phase {
	return &phase{name: name, began: time.Now(), targets: map[string]int{}}
}

// enter counts a request into the present phase.
func (l *loader) enter() *phase {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.phase.requests.Add(1)
	return l.phase
}

func (l *loader) present() *phase {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.phase
}

func (p *phase) add(o outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	p.slowest = max(p.slowest, o.took)
	p.targets[o.Target]++
	if o.Error != "" {
		p.failures = append(p.failures, o)
	}
}

func (p *phase) saw(s sight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sights = append(p.sights, s)
}

func (p *phase) report(ended time.Time) report {
	p.mu.Lock()
	defer p.mu.Unlock()
	return report{Phase: p.name, Began: p.began, Ended: ended, Sent: p.sent, Failures: p.failures,
		Slowest: p.slowest, Targets: p.targets, Names: p.sights}
}
