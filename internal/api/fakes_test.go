package api

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// fakeControl is the store with scale, restart and deploy on top, which only
// write down what was asked.
type fakeControl struct {
	*store.Store
	deployed bool
	panics   bool
	source   string
	scope    []string
	killed   []string
}

func (f *fakeControl) DestroyApp(ctx context.Context, user platform.User, appID string) error {
	return f.DeleteApp(ctx, user, appID)
}

func (f *fakeControl) CreateProject(ctx context.Context, user platform.User, name string, isDefault bool) (platform.Project, error) {
	if f.panics {
		panic("secret cause")
	}
	return f.Store.CreateProject(ctx, user, name, isDefault)
}

func (f *fakeControl) Scale(ctx context.Context, user platform.User, appID string, changes []platform.ProcessType) ([]platform.ProcessType, *platform.Operation, error) {
	types, err := f.Formation(ctx, appID)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range changes {
		found := false
		for i := range types {
			if types[i].Name == c.Name {
				found = true
				types[i].Amount = c.Amount
				if c.Size != "" {
					types[i].Size = c.Size
				}
			}
		}
		if !found {
			return nil, nil, platform.Invalid("containers", "the app has no process type %q", c.Name)
		}
	}
	ch := &store.Change{Types: types, User: user}
	if f.deployed {
		ch.Operation = &platform.Operation{ID: platform.NewID(), AppID: appID, Type: "scale", Status: platform.OperationRunning}
	}
	return types, ch.Operation, f.Commit(ctx, appID, ch)
}

func (f *fakeControl) Restart(ctx context.Context, user platform.User, appID string, scope []string) (platform.Operation, error) {
	f.scope = scope
	o := platform.Operation{ID: platform.NewID(), AppID: appID, Type: "restart", Status: platform.OperationDone}
	return o, f.Commit(ctx, appID, &store.Change{Operation: &o, User: user})
}

func (f *fakeControl) Deploy(ctx context.Context, user platform.User, appID, gitRef, sourceID string) (platform.Deployment, error) {
	f.source = sourceID
	return f.CreateDeployment(ctx, user, appID, gitRef, sourceID)
}

// fakeDeployments replays all events of an app, then new ones.
type fakeDeployments struct {
	mu      sync.Mutex
	changed chan struct{}
	events  map[string][]fakeEvent
	output  map[string]string
}

type fakeEvent struct {
	kind string
	d    platform.Deployment
	text string
}

func newFakeDeployments() *fakeDeployments {
	return &fakeDeployments{changed: make(chan struct{}), events: map[string][]fakeEvent{}, output: map[string]string{}}
}

func (f *fakeDeployments) add(kind string, d platform.Deployment, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events[d.AppID] = append(f.events[d.AppID], fakeEvent{kind, d, text})
	f.output[d.ID] += text
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeDeployments) Follow(ctx context.Context, appID string, event func(string, platform.Deployment, string) error) error {
	for next := 0; ; {
		f.mu.Lock()
		pending, changed := f.events[appID][next:], f.changed
		f.mu.Unlock()
		for _, e := range pending {
			if err := event(e.kind, e.d, e.text); err != nil {
				return err
			}
		}
		next += len(pending)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fakeDeployments) Output(id string) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, ok := f.output[id]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

// fakeLogs keeps lines in memory; filters match anywhere in a line.
type fakeLogs struct {
	mu      sync.Mutex
	changed chan struct{}
	lines   map[string][]string
	filter  string
	// followers counts the calls of Follow that run.
	followers int
}

func newFakeLogs() *fakeLogs {
	return &fakeLogs{changed: make(chan struct{}), lines: map[string][]string{}}
}

func (f *fakeLogs) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeLogs) add(appID, line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines[appID] = append(f.lines[appID], line)
	f.wake()
}

func (f *fakeLogs) Tail(_ context.Context, appID string, n int, filter string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filter = filter
	lines := f.lines[appID]
	return []byte(strings.Join(lines[max(0, len(lines)-n):], "")), nil
}

func (f *fakeLogs) Follow(ctx context.Context, appID, filter string, fn func([]byte) error) error {
	f.mu.Lock()
	f.filter = filter
	next := len(f.lines[appID])
	f.followers++
	f.wake()
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.followers--
		f.wake()
	}()
	for {
		f.mu.Lock()
		pending, changed := strings.Join(f.lines[appID][next:], ""), f.changed
		next = len(f.lines[appID])
		f.mu.Unlock()
		if pending != "" {
			if err := fn([]byte(pending)); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitFollowers waits until n calls of Follow run.
func (f *fakeLogs) awaitFollowers(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		now, changed := f.followers, f.changed
		f.mu.Unlock()
		if now == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// locked makes a buffer safe for a logger of many goroutines.
type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// Kill writes down what was asked.
func (f *fakeControl) Kill(_ context.Context, appID, containerID, signal string) error {
	if signal != "SIGUSR1" {
		return platform.Invalid("signal", "must be SIGUSR1 or SIGUSR2")
	}
	f.killed = append(f.killed, appID+" "+containerID+" "+signal)
	return nil
}

// fakePolicies is the store; obeys is the error of a network that does not.
type fakePolicies struct {
	*store.Store
	obeys error
}

func (f *fakePolicies) SetMode(ctx context.Context, user platform.User, projectID string, mode platform.PolicyMode) error {
	if err := f.SetPolicyMode(ctx, user, projectID, mode); err != nil {
		return err
	}
	return f.obeys
}

func (f *fakePolicies) RemoveRule(ctx context.Context, user platform.User, projectID, ruleID string) error {
	return f.DeleteRule(ctx, user, projectID, ruleID)
}

// fakeRefusals has what a test puts in, by project.
type fakeRefusals map[string][]platform.Refusal

func (f fakeRefusals) List(_ context.Context, project platform.Project) ([]platform.Refusal, error) {
	return f[project.ID], nil
}

// fakeTraffic has what a test puts in; live is what followers are told.
type fakeTraffic struct {
	flows []platform.Flow
	drops []platform.Drop
	live  chan []platform.Flow
	fail  error
	// network is the one that was asked about last.
	network platform.PrivateNetwork
}

func newFakeTraffic() *fakeTraffic { return &fakeTraffic{live: make(chan []platform.Flow)} }

func (f *fakeTraffic) Flows(_ context.Context, network platform.PrivateNetwork) ([]platform.Flow, error) {
	f.network = network
	return f.flows, f.fail
}

func (f *fakeTraffic) Drops(_ context.Context, network platform.PrivateNetwork) ([]platform.Drop, error) {
	f.network = network
	return f.drops, f.fail
}

func (f *fakeTraffic) Follow(ctx context.Context, _ platform.PrivateNetwork, fn func([]platform.Flow) error) error {
	if f.fail != nil {
		return f.fail
	}
	for flows := []platform.Flow(nil); ; {
		if err := fn(flows); err != nil {
			return err
		}
		select {
		case flows = <-f.live:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
