package oneoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// Engine is what a Service needs of an engine.
type Engine interface {
	engine.OneOffs
	Remove(ctx context.Context, workloadID string) error
}

// Roster shows what runs.
type Roster interface {
	Snapshot() ([]platform.Instance, <-chan struct{})
}

// AppLog takes lines of one container.
type AppLog interface {
	Line(text []byte)
	Close() error
}

// Config is what a Service needs.
type Config struct {
	Store  *store.Store
	Engine Engine
	Roster Roster
	// Compose fills in what the engine has to know of a one-off.
	Compose func(ctx context.Context, o platform.OneOff) (platform.Workload, error)
	// OpenLog opens an app's log for lines of one container, within the limits
	// that hold for containers.
	OpenLog func(appID, label string) (AppLog, error)
	// Dir is the folder of uploaded files.
	Dir string
	// HookLimit and WaitLimit are for tests; 0 means the documented ones.
	HookLimit time.Duration
	WaitLimit time.Duration
	Log       *slog.Logger
}

// Service runs one-offs. It is safe for concurrent use.
type Service struct {
	Config

	mu     sync.Mutex
	live   map[string]*live
	woken  chan struct{} // a token when live changed
	closed chan struct{} // closed when Run has returned
	// littered has a token when there is something in the trash.
	littered chan struct{}
}

// live is a one-off that waits or runs. What is not fixed is guarded by the
// service's mu.
type live struct {
	id     string
	record platform.OneOff
	// What only an attached one has.
	attached Attached
	// given is the size that its terminal has; fitting is held while it gets
	// another one.
	given   [2]int
	fitting sync.Mutex
	// uploads counts its files, uploading those that are still coming.
	uploads   int
	uploading int
	// cause is why it is being stopped, "" when it is not.
	cause string
	// end is how it ended, nil while it goes on. It is kept until it is in the
	// store: what was told once need not be told again.
	end *ending
	// recording: its end is being recorded, by one goroutine.
	recording bool
	done      chan struct{} // closed when the end is recorded
	// started: the operation that starts it is done. Only Run uses it.
	started bool
}

// ending is how a one-off ended.
type ending struct {
	code   int
	reason string
	at     time.Time
}

// Attached says how the client of an attached one-off wants to be served.
type Attached struct {
	// Terminal gives the process a terminal, of Width times Height.
	Terminal      bool
	Width, Height int
	// Swift: the client loses nothing that comes at once with the answer.
	Swift bool
}

func (a Attached) size() [2]int { return [2]int{a.Width, a.Height} }

// New returns a service; call Recover before anything else, then Run.
func New(cfg Config) (*Service, error) {
	if cfg.HookLimit == 0 {
		cfg.HookLimit = platform.HookLimit
	}
	if cfg.WaitLimit == 0 {
		cfg.WaitLimit = platform.OneOffWait
	}
	// Containers' users pass through to their own files, hence the x.
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make the folder of uploaded files: %w", err)
	}
	s := &Service{Config: cfg, live: map[string]*live{}, woken: make(chan struct{}, 1), closed: make(chan struct{}), littered: make(chan struct{}, 1)}
	if err := os.MkdirAll(s.trash(), 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of files to remove: %w", err)
	}
	return s, nil
}

// Start records a one-off that a user asks for (Command, Size, Env, Detached
// are given) and, when it is detached, starts it. CodeConflict when the app
// was never deployed or has too many.
func (s *Service) Start(ctx context.Context, user platform.User, app platform.App, o platform.OneOff, a Attached) (platform.OneOff, error) {
	if err := platform.ValidateOneOff(o); err != nil {
		return o, err
	}
	if app.ReleaseID == "" {
		return o, platform.Conflict("the app was never deployed, so there is nothing to run in; deploy it first")
	}
	o.ID, o.Kind, o.UserID, o.OperationID = platform.NewID(), platform.KindOneOff, user.ID, platform.NewID()
	op := platform.Operation{ID: o.OperationID, Type: platform.OperationStartOneOff, Status: platform.OperationRunning}
	o.State = platform.OneOffRunning
	o.ReleaseID = app.ReleaseID
	if !o.Detached {
		// It starts when its client connects; where to is known now.
		o.State, o.ReleaseID, op.Status = platform.OneOffWaiting, "", platform.OperationDone
		o.Deadline = time.Now().Add(s.WaitLimit)
	}
	l, err := s.add(ctx, app.ID, &store.Change{OneOff: &o, Operation: &op, User: user, Event: "run",
		EventData: map[string]any{"command": o.Command, "detached": o.Detached}}, a)
	if err != nil {
		return o, err
	}
	if o.Detached {
		s.launch(ctx, l, nil)
	}
	return o, nil
}

// Get returns a one-off as it is now.
func (s *Service) Get(ctx context.Context, id string) (platform.OneOff, error) {
	return s.Store.OneOff(ctx, id)
}

// Claim makes the caller the one client of an attached one-off that waits;
// Serve must follow. It returns what that client asked for.
func (s *Service) Claim(ctx context.Context, id string) (Attached, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.waiting(id)
	if err != nil {
		return Attached{}, err
	}
	o := l.record
	app, err := s.Store.AppByID(ctx, o.AppID)
	if err != nil {
		return Attached{}, err
	}
	o.State, o.ReleaseID, o.Deadline = platform.OneOffRunning, app.ReleaseID, time.Time{}
	if err := s.Store.Commit(ctx, o.AppID, &store.Change{OneOff: &o}); err != nil {
		return Attached{}, err
	}
	l.record = o
	return l.attached, nil
}

// Serve starts a claimed one-off with its streams connected, and returns it
// when it has ended and all of its output is written. When ctx ends, so does
// the container: its client is gone.
func (s *Service) Serve(ctx context.Context, id string, in io.Reader, out io.Writer) (platform.OneOff, error) {
	l := s.find(id)
	if l == nil {
		return s.Get(ctx, id)
	}
	s.mu.Lock()
	a := l.attached
	l.given = a.size()
	s.mu.Unlock()
	s.launch(ctx, l, &engine.Attachment{Input: in, Output: out, Terminal: a.Terminal, Width: a.Width, Height: a.Height})
	return s.await(ctx, l, "the connection to it was lost")
}

// Resize notes the size of the client's terminal, and sets it.
func (s *Service) Resize(ctx context.Context, id string, width, height int) error {
	s.mu.Lock()
	l := s.live[id]
	runs := l != nil && l.record.State == platform.OneOffRunning && !l.record.Detached
	if l != nil {
		l.attached.Width, l.attached.Height = width, height
	}
	s.mu.Unlock()
	if !runs {
		return nil
	}
	return s.fit(ctx, l)
}

// Wait returns a one-off when it has ended.
func (s *Service) Wait(ctx context.Context, id string) (platform.OneOff, error) {
	if l := s.find(id); l != nil {
		select {
		case <-l.done:
		case <-s.closed:
			return platform.OneOff{}, errClosed
		case <-ctx.Done():
			return platform.OneOff{}, context.Cause(ctx)
		}
	}
	return s.Get(ctx, id)
}

// Stop ends a one-off, hook or task. It returns when the wish is recorded;
// one that has ended is no error.
func (s *Service) Stop(ctx context.Context, id, cause string, timedOut bool) error {
	if l := s.find(id); l != nil {
		return s.stop(ctx, l, cause, timedOut)
	}
	return nil
}

// EndAll ends all one-offs of an app that is going away.
func (s *Service) EndAll(ctx context.Context, appID string) error {
	var errs []error
	s.mu.Lock()
	var gone []*live
	for id, l := range s.live {
		if l.record.AppID == appID && !l.recording {
			l.recording = true
			gone = append(gone, l)
			delete(s.live, id)
		}
	}
	s.mu.Unlock()
	for _, l := range gone {
		errs = append(errs, s.Engine.Remove(ctx, l.id), s.discard(l.id))
		close(l.done)
	}
	return errors.Join(errs...)
}

// Private

var errClosed = errors.New("the server is being stopped")

// await waits for the end of one that is attached. When ctx ends it is
// stopped, and its end is waited for: that does not take long.
func (s *Service) await(ctx context.Context, l *live, cause string) (platform.OneOff, error) {
	select {
	case <-l.done:
	case <-s.closed:
	case <-ctx.Done():
		if err := s.stop(context.WithoutCancel(ctx), l, cause, false); err != nil {
			return s.snapshot(l), err
		}
	}
	select {
	case <-l.done:
		return s.snapshot(l), nil
	case <-s.closed:
		return s.snapshot(l), errClosed
	}
}

// fit gives a terminal the latest size of its client's. One that is not there
// yet gets it when it is.
func (s *Service) fit(ctx context.Context, l *live) error {
	l.fitting.Lock()
	defer l.fitting.Unlock()
	s.mu.Lock()
	size := l.attached.size()
	s.mu.Unlock()
	err := s.Engine.Resize(ctx, l.id, size[0], size[1])
	if errors.Is(err, engine.ErrNoInstance) { // not yet, or not any more
		return nil
	}
	if err == nil {
		s.mu.Lock()
		l.given = size
		s.mu.Unlock()
	}
	return err
}

func (s *Service) snapshot(l *live) platform.OneOff {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.record
}

func (s *Service) uploads(id string) string { return filepath.Join(s.Dir, id) }

func (s *Service) find(id string) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[id]
}

// waiting returns one to which a client may connect. s.mu is held.
func (s *Service) waiting(id string) (*live, error) {
	l := s.live[id]
	switch {
	case l == nil || l.end != nil || l.recording:
		return nil, platform.Conflict("this one-off container has ended, or nobody connected in time; start another one")
	case l.record.Detached || l.record.Kind != platform.KindOneOff:
		return nil, platform.Conflict("this container is detached: its output is in the logs of the app")
	case l.record.State != platform.OneOffWaiting:
		return nil, platform.Conflict("somebody is connected to this one-off container already; start another one")
	}
	return l, nil
}

// add commits a new one-off and takes it in.
func (s *Service) add(ctx context.Context, appID string, c *store.Change, a Attached) (*live, error) {
	if err := s.Store.Commit(ctx, appID, c); err != nil {
		return nil, err
	}
	l := &live{id: c.OneOff.ID, record: *c.OneOff, attached: a, done: make(chan struct{})}
	s.mu.Lock()
	s.live[l.id] = l
	s.mu.Unlock()
	s.wake()
	return l, nil
}

func (s *Service) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// launch tells the engine. A failure ends the one-off.
func (s *Service) launch(ctx context.Context, l *live, a *engine.Attachment) {
	o := s.snapshot(l)
	w, err := s.Compose(ctx, o)
	if err == nil {
		run := engine.OneOff{Workload: w, Attached: a}
		if _, statErr := os.Stat(s.uploads(o.ID)); statErr == nil {
			run.Mounts = []engine.Mount{{Source: s.uploads(o.ID), Target: platform.UploadDir}}
		}
		err = s.Engine.Start(ctx, run)
	}
	s.mu.Lock()
	stopped := l.cause != ""
	s.mu.Unlock()
	if err == nil && stopped { // a stop that came first found nothing to stop
		err = s.Engine.Stop(ctx, o.ID)
	}
	if err != nil {
		s.Log.Error("Cannot start a one-off", "app", o.AppID, "container", o.Label(), "error", err)
		s.finish(context.WithoutCancel(ctx), l, exitNever, "it could not be started; the operator finds the reason in the server's log")
	}
}

// exitNever is the exit code of what never ran.
const exitNever = 126

func (s *Service) stop(ctx context.Context, l *live, cause string, timedOut bool) error {
	s.mu.Lock()
	first := l.cause == ""
	if first {
		l.cause, l.record.TimedOut = cause, timedOut
	}
	o := l.record
	s.mu.Unlock()
	if o.State == platform.OneOffWaiting {
		return s.end(ctx, l, exitNever, cause)
	}
	if err := s.Engine.Stop(ctx, l.id); err != nil {
		return fmt.Errorf("cannot stop %s: %w", o.Label(), err)
	}
	return nil
}
