package deploy

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/atollhq/atoll/internal/platform"
)

// The kinds of events of a stream (spec api.md section 6.7).
const (
	EventNew    = "new"
	EventLog    = "log"
	EventStatus = "status"
)

// event is something that happened to a deployment.
type event struct {
	kind string
	// deployment as it was then; text is output, for EventLog.
	deployment platform.Deployment
	text       string
}

// Streams keeps the output of deployments: in files for later, in memory for
// those who watch. It is safe for concurrent use.
type Streams struct {
	// Dir holds one file per deployment.
	Dir string

	mu   sync.Mutex
	apps map[string]*feed
}

// feed is the events of an app's newest deployment.
type feed struct {
	mu     sync.Mutex
	events []event
	// run counts deployments, so that a reader of the last one knows that
	// its position is about older events.
	run     int
	changed chan struct{}
}

// Follow calls fn for the events of an app's deployments until ctx ends or
// fn fails, and returns that error. kind is one of EventNew, EventLog (text
// is output of d) and EventStatus (d has it). It begins with all events of
// the newest deployment, also when that is over: a client can only follow
// after it created the deployment, and a fast one would end unseen.
func (s *Streams) Follow(ctx context.Context, appID string, fn func(kind string, d platform.Deployment, text string) error) error {
	f := s.feed(appID)
	run, next := 0, 0
	for {
		f.mu.Lock()
		if run != f.run {
			run, next = f.run, 0
		}
		pending, changed := f.events[next:len(f.events):len(f.events)], f.changed
		f.mu.Unlock()
		for _, e := range pending {
			if err := fn(e.kind, e.deployment, e.text); err != nil {
				return err
			}
		}
		next += len(pending)
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Output opens the log of a deployment. The error is fs.ErrNotExist when it
// has none.
func (s *Streams) Output(deploymentID string) (io.ReadCloser, error) {
	if !filepath.IsLocal(deploymentID) || filepath.Base(deploymentID) != deploymentID {
		return nil, fmt.Errorf("deployment id %q: %w", deploymentID, os.ErrNotExist)
	}
	return os.Open(s.path(deploymentID))
}

// Private

func (s *Streams) path(deploymentID string) string {
	return filepath.Join(s.Dir, deploymentID+".log")
}

func (s *Streams) feed(appID string) *feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apps == nil {
		s.apps = map[string]*feed{}
	}
	f := s.apps[appID]
	if f == nil {
		f = &feed{changed: make(chan struct{})}
		s.apps[appID] = f
	}
	return f
}

// forget drops the events of an app that is gone.
func (s *Streams) forget(appID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.apps, appID)
}

// begin starts the stream of a new deployment.
func (s *Streams) begin(d platform.Deployment) (*output, error) {
	file, err := os.OpenFile(s.path(d.ID), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot keep the log of deployment %s: %w", d.ID, err)
	}
	f := s.feed(d.AppID)
	f.mu.Lock()
	f.run++
	f.events = nil
	f.mu.Unlock()
	f.add(event{kind: EventNew, deployment: d})
	return &output{deployment: d, feed: f, file: file}, nil
}

func (f *feed) add(e event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
	close(f.changed)
	f.changed = make(chan struct{})
}

// maxOutput is how much of a deployment's log is kept; a build that prints
// for ever must fill neither memory nor disk.
const maxOutput = 8 << 20

// output writes one deployment's log to its file and to its stream. It is
// used by one goroutine at a time.
type output struct {
	deployment platform.Deployment
	feed       *feed
	file       *os.File
	written    int
}

// Write never fails: a full disk must not end a build.
func (o *output) Write(b []byte) (int, error) {
	before := o.written
	o.written += len(b)
	if before > maxOutput {
		return len(b), nil
	}
	if o.written > maxOutput {
		b = fmt.Appendf(nil, "\n !     The output is longer than %d MiB; the rest is left out.\n", maxOutput>>20)
	}
	o.file.Write(b) //nolint:errcheck // the stream still has it
	o.feed.add(event{kind: EventLog, deployment: o.deployment, text: string(b)})
	return o.written - before, nil
}

func (o *output) status(s platform.DeploymentStatus) {
	o.deployment.Status = s
	o.feed.add(event{kind: EventStatus, deployment: o.deployment})
}

func (o *output) close() error { return o.file.Close() }
