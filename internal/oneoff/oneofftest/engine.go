// Package oneofftest has an engine for tests of what is built on one-offs:
// its containers are functions.
package oneofftest

import (
	"context"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// Engine runs Program for each one-off and reports to Roster, as an
// engine.OneOffs does.
type Engine struct {
	Roster *roster.Roster
	// Program is the process; its context ends with a Stop. A nil Program
	// makes every start fail with Failure.
	Program func(ctx context.Context, p Process) (exitCode int)
	Failure string
	// Proceed, when it is there, keeps containers starting until it is closed.
	Proceed chan struct{}

	mu      sync.Mutex
	running map[string]*process
	started []engine.OneOff
}

// Process is what a Program sees of its container.
type Process struct {
	engine.OneOff
	In  io.Reader
	Out io.Writer
	// Resized gets each new size of the terminal.
	Resized <-chan [2]int
}

type process struct {
	stop    context.CancelFunc
	resized chan [2]int
	runs    bool
}

// Start implements engine.OneOffs.
func (e *Engine) Start(_ context.Context, o engine.OneOff) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running == nil {
		e.running = map[string]*process{}
	}
	if e.running[o.Workload.ID] != nil {
		return engine.ErrExists
	}
	w := o.Workload
	ctx, stop := context.WithCancel(context.Background())
	p := &process{stop: stop, resized: make(chan [2]int, 100)}
	e.running[w.ID] = p
	e.started = append(e.started, o)
	row := platform.Instance{ID: w.ID, WorkloadID: w.ID, NetworkID: w.Network.ID, AppID: w.AppID, AppName: w.AppName, Type: w.Type, Kind: w.Kind,
		Number: w.Numbers[0], State: platform.InstanceRunning, Command: w.Command, Size: w.Size.Name, CreatedAt: time.Now(), StartedAt: time.Now(),
		PrivateAddr: netip.MustParseAddr("10.240.0.9")}
	if e.Program == nil {
		row.State, row.Reason = platform.InstanceFailed, e.Failure
		e.Roster.Put(row)
		return nil
	}
	seen := Process{OneOff: o, Out: io.Discard, Resized: p.resized}
	if a := o.Attached; a != nil {
		seen.In, seen.Out = a.Input, a.Output
	}
	begin := func() {
		p.runs = true
		e.Roster.Put(row)
	}
	if e.Proceed == nil {
		begin()
	}
	go func() {
		if e.Proceed != nil {
			<-e.Proceed
			e.mu.Lock()
			begin()
			e.mu.Unlock()
		}
		code := e.Program(ctx, seen)
		row.State, row.PrivateAddr = platform.InstanceEnded, netip.Addr{}
		row.LastExit = &platform.Exit{Code: code, At: time.Now()}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.running[w.ID] == p {
			e.Roster.Put(row)
		}
	}()
	return nil
}

// Stop implements engine.OneOffs.
func (e *Engine) Stop(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.running[id]; p != nil {
		p.stop()
	}
	return nil
}

// Resize implements engine.OneOffs.
func (e *Engine) Resize(_ context.Context, id string, width, height int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.running[id]
	if p == nil || !p.runs {
		return engine.ErrNoInstance
	}
	p.resized <- [2]int{width, height}
	return nil
}

// Remove implements oneoff.Engine.
func (e *Engine) Remove(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.running[id]; p != nil {
		p.stop()
		delete(e.running, id)
	}
	e.Roster.Delete(id)
	return nil
}

// Started lists what was started, in order.
func (e *Engine) Started() []engine.OneOff {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]engine.OneOff{}, e.started...)
}
