package oneoff

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/oneoff/oneofftest"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/reconcile"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/store"
)

// fixture is a service on a real store, with an engine whose containers are
// functions.
type fixture struct {
	*Service
	t      *testing.T
	store  *store.Store
	engine *oneofftest.Engine
	roster *roster.Roster
	user   platform.User
	app    platform.App
	close  func()
	// database is the file of the store.
	database string

	mu   sync.Mutex
	said []string
	// logs is how many logs are open.
	logs int
}

// appLog is a log of an app: what was said to the fixture.
type appLog struct {
	f     *fixture
	label string
}

func (l appLog) Line(text []byte) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.f.said = append(l.f.said, l.label+": "+string(text))
}

func (l appLog) Close() error {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.f.logs--
	return nil
}

// wantSaid compares what is in the logs. All of them must be closed.
func (f *fixture) wantSaid(lines ...string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff(lines, f.said); diff != "" {
		f.t.Errorf("log (-want +got):\n%s", diff)
	}
	if f.logs != 0 {
		f.t.Errorf("%d logs are open", f.logs)
	}
}

func newFixture(t *testing.T, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, roster: roster.New()}
	f.database = filepath.Join(t.TempDir(), "atoll.db")
	st, err := store.Open(t.Context(), f.database)
	must(t, err)
	t.Cleanup(func() { st.Close() })
	f.store = st
	_, err = st.EnsureStack(t.Context(), store.Stack{Name: "atoll-12", BaseImage: "x", Default: true})
	must(t, err)
	f.user, err = st.CreateUser(t.Context(), "ada", "ada@example.test", "Ada", "")
	must(t, err)
	f.app = f.newApp("some-app")
	f.engine = &oneofftest.Engine{Roster: f.roster}
	f.open(change...)
	return f
}

// newApp makes an app with a release.
func (f *fixture) newApp(name string) platform.App {
	f.t.Helper()
	ctx := f.t.Context()
	app, err := f.store.CreateApp(ctx, f.user, name, "", "")
	must(f.t, err)
	r := platform.Release{ID: platform.NewID(), AppID: app.ID, DeploymentID: "d", Image: "image:1", Version: "v1", Commands: map[string]string{"web": "x"}}
	must(f.t, f.store.Commit(ctx, app.ID, &store.Change{Release: &r, Current: true, User: f.user}))
	app, err = f.store.AppByID(ctx, app.ID)
	must(f.t, err)
	return app
}

// open starts a service over the same store and engine, as after a restart.
func (f *fixture) open(change ...func(*Config)) {
	f.t.Helper()
	r := &reconcile.Reconciler{Store: f.store, Region: "local"}
	cfg := Config{Store: f.store, Engine: f.engine, Roster: f.roster, Compose: r.Compose, Dir: filepath.Join(f.t.TempDir(), "uploads"),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		OpenLog: func(_, label string) (AppLog, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.logs++
			return appLog{f, label}, nil
		}}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
	must(f.t, err)
	must(f.t, s.Recover(f.t.Context()))
	f.Service = s
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	f.close = sync.OnceFunc(func() {
		stop()
		must(f.t, <-done)
	})
	f.t.Cleanup(f.close)
}

func (f *fixture) start(o platform.OneOff, a Attached) platform.OneOff {
	f.t.Helper()
	if o.Size == "" {
		o.Size = "M"
	}
	o, err := f.Start(f.t.Context(), f.user, f.app, o, a)
	must(f.t, err)
	return o
}

// operation waits for the end of the operation that starts a one-off.
func (f *fixture) operation(o platform.OneOff) platform.Operation {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		op, err := f.store.Operation(f.t.Context(), o.AppID, o.OperationID)
		must(f.t, err)
		if op.Status != platform.OperationRunning {
			return op
		}
		if time.Now().After(end) {
			f.t.Fatal("the operation does not end")
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code platform.Code) {
	t.Helper()
	if platform.CodeOf(err) != code {
		t.Fatalf("error is %v, want one with code %s", err, code)
	}
}

func TestADetachedOneOffRunsAtOnceAndIsRemembered(t *testing.T) {
	f := newFixture(t)
	_, err := f.store.SetVariables(t.Context(), f.user, f.app.ID, []platform.Variable{{Name: "A", Value: "app"}, {Name: "B", Value: "app"}})
	must(t, err)
	proceed := make(chan struct{})
	f.engine.Program = func(context.Context, oneofftest.Process) int { <-proceed; return 3 }
	o := f.start(platform.OneOff{Command: "bin/work", Env: map[string]string{"B": "own"}, Size: "L", Detached: true}, Attached{})
	if o.Label() != "one-off-1" || o.State != platform.OneOffRunning {
		t.Errorf("it is %+v", o)
	}
	if op := f.operation(o); op.Status != platform.OperationDone || op.Type != "start-one-off" {
		t.Errorf("the operation is %+v", op)
	}
	close(proceed)
	o, err = f.Wait(t.Context(), o.ID)
	must(t, err)
	if o.ExitCode != 3 || o.State != platform.OneOffEnded || o.FinishedAt.IsZero() || o.Error != "" || o.TimedOut {
		t.Errorf("it ended as %+v", o)
	}
	w := f.engine.Started()[0].Workload
	if w.ID != o.ID || w.Kind != platform.KindOneOff || w.Type != "one-off" || w.Image != "image:1" || w.Size.Name != "L" || w.Network.ID == "" || w.Active {
		t.Errorf("the engine got %+v", w)
	}
	if diff := cmp.Diff(map[string]string{"A": "app", "B": "own", "SCALINGO_USER_ID": f.user.ID}, w.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if rows, _ := f.roster.Snapshot(); len(rows) > 0 {
		t.Errorf("left in the roster: %+v", rows)
	}
	events, _, err := f.store.AppEvents(t.Context(), f.app.ID, store.Page{Number: 1, PerPage: 1})
	must(t, err)
	if e := events[0]; e.Type != "run" || e.UserID != f.user.ID || e.Data["command"] != "bin/work" || e.Data["detached"] != true {
		t.Errorf("the event is %+v", e)
	}
	// Numbers do not come back: a label names one run.
	if next := f.start(platform.OneOff{Command: "x", Detached: true}, Attached{}); next.Label() != "one-off-2" {
		t.Errorf("the next one is %s", next.Label())
	}
}

func TestOneOffsThatAreRefusedLeaveNothingBehind(t *testing.T) {
	f := newFixture(t)
	fresh, err := f.store.CreateApp(t.Context(), f.user, "fresh-app", "", "")
	must(t, err)
	_, err = f.Start(t.Context(), f.user, fresh, platform.OneOff{Command: "x", Size: "M"}, Attached{})
	wantCode(t, err, platform.CodeConflict)
	for name, o := range map[string]platform.OneOff{
		"no command": {Command: " ", Size: "M"}, "zero byte": {Command: "a\x00b", Size: "M"}, "long": {Command: strings.Repeat("x", 20000), Size: "M"},
		"size": {Command: "x", Size: "XXS"}, "variable": {Command: "x", Size: "M", Env: map[string]string{"1-2": ""}},
	} {
		if _, err := f.Start(t.Context(), f.user, f.app, o, Attached{}); platform.CodeOf(err) != platform.CodeInvalid {
			t.Errorf("%s: error %v", name, err)
		}
	}
	list, err := f.store.UnfinishedOneOffs(t.Context())
	must(t, err)
	if len(list) > 0 {
		t.Errorf("recorded: %+v", list)
	}
}

func TestThereAreAtMostTenPerAppAndFiftyPerUser(t *testing.T) {
	f := newFixture(t)
	first := f.app
	for n := range 5 {
		if n > 0 {
			f.app = f.newApp(fmt.Sprintf("other-app-%d", n))
		}
		for range platform.MaxOneOffsPerApp {
			f.start(platform.OneOff{Command: "x"}, Attached{})
		}
		_, err := f.Start(t.Context(), f.user, f.app, platform.OneOff{Command: "x", Size: "M"}, Attached{})
		wantCode(t, err, platform.CodeConflict)
	}
	_, err := f.Start(t.Context(), f.user, f.newApp("sixth-app"), platform.OneOff{Command: "x", Size: "M"}, Attached{})
	if wantCode(t, err, platform.CodeConflict); !strings.Contains(err.Error(), "50") {
		t.Errorf("error %v", err)
	}
	// One that is stopped before anybody connected makes room.
	list, err := f.store.UnfinishedOneOffs(t.Context())
	must(t, err)
	must(t, f.Stop(t.Context(), list[0].ID, "enough", false))
	f.app = first
	f.start(platform.OneOff{Command: "x"}, Attached{})
}

func TestAOneOffThatCannotStartSaysWhy(t *testing.T) {
	f := newFixture(t)
	f.engine.Failure = "the private network is full"
	o := f.start(platform.OneOff{Command: "x", Detached: true}, Attached{})
	if op := f.operation(o); op.Status != platform.OperationError || op.Error != "the private network is full" {
		t.Errorf("the operation is %+v", op)
	}
	o, err := f.Wait(t.Context(), o.ID)
	must(t, err)
	if o.Error != "the private network is full" || o.ExitCode != exitNever {
		t.Errorf("it ended as %+v", o)
	}
	f.wantSaid("one-off-1: [atoll] the private network is full")
}

func TestAnAttachedOneOffStartsWithItsClient(t *testing.T) {
	f := newFixture(t)
	f.engine.Program = func(_ context.Context, p oneofftest.Process) int {
		text, _ := io.ReadAll(p.In)
		fmt.Fprintf(p.Out, "got %s", text)
		return 4
	}
	o := f.start(platform.OneOff{Command: "x"}, Attached{Terminal: true, Width: 10, Height: 20})
	if op := f.operation(o); op.Status != platform.OperationDone {
		t.Errorf("the operation is %+v", op)
	}
	if len(f.engine.Started()) > 0 {
		t.Fatal("it runs already")
	}
	must(t, f.AddFile(t.Context(), o.ID, "dump.sql", strings.NewReader("insert")))
	wantCode(t, f.AddFile(t.Context(), o.ID, "dump.sql", strings.NewReader("again")), platform.CodeInvalid)
	for _, name := range []string{"", ".", "..", "a/b", "/etc/passwd", strings.Repeat("x", 256)} {
		wantCode(t, f.AddFile(t.Context(), o.ID, name, strings.NewReader("")), platform.CodeInvalid)
	}
	must(t, f.Resize(t.Context(), o.ID, 100, 40))
	if _, err := f.Claim(t.Context(), o.ID); err != nil {
		t.Fatal(err)
	}
	_, err := f.Claim(t.Context(), o.ID)
	wantCode(t, err, platform.CodeConflict)
	wantCode(t, f.AddFile(t.Context(), o.ID, "late", strings.NewReader("")), platform.CodeConflict)
	var out bytes.Buffer
	ended, err := f.Serve(t.Context(), o.ID, strings.NewReader("input"), &out)
	must(t, err)
	if ended.ExitCode != 4 || out.String() != "got input" || ended.ReleaseID != f.app.ReleaseID {
		t.Errorf("it ended as %+v and wrote %q", ended, out.String())
	}
	run := f.engine.Started()[0]
	if a := run.Attached; !a.Terminal || a.Width != 100 || a.Height != 40 {
		t.Errorf("it got the terminal %+v", a)
	}
	if len(run.Mounts) != 1 || run.Mounts[0].Target != "/tmp/uploads" {
		t.Errorf("it got the mounts %+v", run.Mounts)
	}
	if _, err := os.Stat(f.uploads(o.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the uploads are left: %v", err)
	}
	_, err = f.Claim(t.Context(), o.ID)
	wantCode(t, err, platform.CodeConflict)
}

// TestASizeThatComesTooEarlyIsSetLater: clients tell a new size once.
func TestASizeThatComesTooEarlyIsSetLater(t *testing.T) {
	f := newFixture(t)
	f.engine.Proceed = make(chan struct{})
	var got [2]int
	f.engine.Program = func(_ context.Context, p oneofftest.Process) int {
		select {
		case got = <-p.Resized:
		case <-time.After(20 * time.Second):
		}
		return 0
	}
	o := f.start(platform.OneOff{Command: "x"}, Attached{Terminal: true, Width: 80, Height: 24})
	_, err := f.Claim(t.Context(), o.ID)
	must(t, err)
	served := make(chan error, 1)
	go func() {
		_, err := f.Serve(t.Context(), o.ID, strings.NewReader(""), io.Discard)
		served <- err
	}()
	for len(f.engine.Started()) == 0 {
		time.Sleep(time.Millisecond)
	}
	must(t, f.Resize(t.Context(), o.ID, 100, 40))
	must(t, f.Resize(t.Context(), o.ID, 120, 50))
	close(f.engine.Proceed)
	must(t, <-served)
	if got != [2]int{120, 50} {
		t.Errorf("the terminal got the size %v", got)
	}
}

func TestAFileHasALimit(t *testing.T) {
	f := newFixture(t)
	o := f.start(platform.OneOff{Command: "x"}, Attached{})
	err := f.AddFile(t.Context(), o.ID, "big", io.LimitReader(zeros{}, platform.MaxUpload+1))
	wantCode(t, err, platform.CodeInvalid)
	if entries, _ := os.ReadDir(f.uploads(o.ID)); len(entries) > 0 {
		t.Error("a part of it is left")
	}
	for n := 1; n < platform.MaxUploads; n++ {
		must(t, f.AddFile(t.Context(), o.ID, fmt.Sprint("f", n), strings.NewReader("")))
	}
	wantCode(t, f.AddFile(t.Context(), o.ID, "one more", strings.NewReader("")), platform.CodeInvalid)
}

// TestALongUploadIsNotLate: the time to connect begins when the files are there.
func TestALongUploadIsNotLate(t *testing.T) {
	const limit = time.Second
	f := newFixture(t, func(c *Config) { c.WaitLimit = limit })
	upload := func(meanwhile func(o platform.OneOff)) platform.OneOff {
		t.Helper()
		o := f.start(platform.OneOff{Command: "x"}, Attached{})
		body, feed := io.Pipe()
		go func() {
			meanwhile(o)
			feed.Close()
		}()
		must(t, f.AddFile(t.Context(), o.ID, "dump", body))
		return o
	}
	tooLong := func(platform.OneOff) { time.Sleep(limit + limit/2) }
	o := upload(tooLong)
	_, err := f.Claim(t.Context(), o.ID)
	must(t, err)

	o = upload(func(o platform.OneOff) {
		if err := f.Stop(t.Context(), o.ID, "enough", false); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(f.uploads(o.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of one that was stopped is left: %v", err)
	}

	o = upload(tooLong)
	o, err = f.Wait(t.Context(), o.ID)
	must(t, err)
	if o.Error != "nobody connected to it in time" {
		t.Errorf("it ended as %+v", o)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAClientThatGoesAwayTakesItsOneOffAlong(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.engine.Program = func(ctx context.Context, _ oneofftest.Process) int {
		cancel()
		<-ctx.Done()
		return 143
	}
	o := f.start(platform.OneOff{Command: "x"}, Attached{})
	_, err := f.Claim(t.Context(), o.ID)
	must(t, err)
	ended, err := f.Serve(ctx, o.ID, strings.NewReader(""), io.Discard)
	must(t, err)
	if ended.ExitCode != 143 || ended.Error != "the connection to it was lost" || ended.TimedOut {
		t.Errorf("it ended as %+v", ended)
	}
}

func TestNobodyConnects(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.WaitLimit = 10 * time.Millisecond })
	o := f.start(platform.OneOff{Command: "x"}, Attached{})
	o, err := f.Wait(t.Context(), o.ID)
	must(t, err)
	if o.State != platform.OneOffEnded || o.Error != "nobody connected to it in time" || !o.TimedOut {
		t.Errorf("it is %+v", o)
	}
}

func TestARestartOfTheServer(t *testing.T) {
	f := newFixture(t)
	proceed := make(chan struct{})
	f.engine.Program = func(context.Context, oneofftest.Process) int { <-proceed; return 7 }
	runs := f.start(platform.OneOff{Command: "runs", Detached: true}, Attached{})
	waits := f.start(platform.OneOff{Command: "waits"}, Attached{})
	lost := f.start(platform.OneOff{Command: "lost"}, Attached{})
	_, err := f.Claim(t.Context(), lost.ID)
	must(t, err)
	serving, leave := context.WithCancel(t.Context())
	defer leave()
	go func() { _, _ = f.Serve(serving, lost.ID, strings.NewReader(""), io.Discard) }()
	for len(f.engine.Started()) < 2 {
		time.Sleep(time.Millisecond)
	}
	never := platform.OneOff{ID: platform.NewID(), Kind: platform.KindOneOff, Command: "x", Size: "M", State: platform.OneOffRunning, Detached: true,
		OperationID: platform.NewID(), UserID: f.user.ID}
	op := platform.Operation{ID: never.OperationID, Type: platform.OperationStartOneOff, Status: platform.OperationRunning}
	must(t, f.store.Commit(t.Context(), f.app.ID, &store.Change{OneOff: &never, Operation: &op}))
	must(t, f.AddFile(t.Context(), waits.ID, "f", strings.NewReader("x")))

	f.close()
	f.open() // as after kill -9
	for _, o := range []platform.OneOff{waits, never} {
		ended, err := f.Wait(t.Context(), o.ID)
		must(t, err)
		if ended.State != platform.OneOffEnded || ended.Error == "" {
			t.Errorf("%s is %+v", o.Command, ended)
		}
	}
	if op := f.operation(never); op.Status != platform.OperationError || op.Error == "" {
		t.Errorf("the operation is %+v", op)
	}
	// The engine ends what was attached; until then nobody else gets it.
	_, err = f.Claim(t.Context(), lost.ID)
	wantCode(t, err, platform.CodeConflict)
	wantCode(t, f.AddFile(t.Context(), lost.ID, "late", strings.NewReader("")), platform.CodeConflict)
	close(proceed)
	ended, err := f.Wait(t.Context(), runs.ID)
	must(t, err)
	if ended.ExitCode != 7 || ended.Error != "" {
		t.Errorf("it ended as %+v", ended)
	}
	if n := len(f.engine.Started()); n != 2 {
		t.Errorf("%d containers were started, want 2", n)
	}
}

// TestAnEndThatCannotBeRecordedIsRecordedLater: else it would count against the
// limits, and its client would wait, until the next start.
func TestAnEndThatCannotBeRecordedIsRecordedLater(t *testing.T) {
	breakStore := func(f *fixture) (mend func()) {
		db, err := sql.Open("sqlite", f.database)
		must(t, err)
		_, err = db.Exec(`CREATE TRIGGER broken BEFORE UPDATE ON one_offs WHEN NEW.state = 'ended' BEGIN SELECT RAISE(FAIL, 'disk I/O error'); END`)
		must(t, err)
		return func() {
			_, err := db.Exec("DROP TRIGGER broken")
			must(t, errors.Join(err, db.Close()))
		}
	}
	for name, c := range map[string]struct {
		config func(*Config)
		// run begins a one-off and has it end while the store is broken.
		run    func(f *fixture, broken func()) platform.OneOff
		reason string
	}{
		"it is stopped": {
			config: func(*Config) {},
			run: func(f *fixture, broken func()) platform.OneOff {
				o := f.start(platform.OneOff{Command: "x"}, Attached{})
				broken()
				if err := f.Stop(t.Context(), o.ID, "ada stopped it", false); err == nil {
					f.t.Error("who stops it does not learn that it did not work")
				}
				_, err := f.Claim(t.Context(), o.ID)
				wantCode(f.t, err, platform.CodeConflict)
				return o
			},
			reason: "ada stopped it",
		},
		"nobody connects": {
			config: func(c *Config) { c.WaitLimit = 50 * time.Millisecond },
			run: func(f *fixture, broken func()) platform.OneOff {
				o := f.start(platform.OneOff{Command: "x"}, Attached{})
				broken()
				time.Sleep(100 * time.Millisecond) // to try it; the test is right with any time
				return o
			},
			reason: "nobody connected to it in time",
		},
		"it cannot start": {
			config: func(c *Config) {
				c.Compose = func(context.Context, platform.OneOff) (platform.Workload, error) {
					return platform.Workload{}, errors.New("x")
				}
			},
			run: func(f *fixture, broken func()) platform.OneOff {
				broken()
				return f.start(platform.OneOff{Command: "x", Detached: true}, Attached{})
			},
			reason: "it could not be started; the operator finds the reason in the server's log",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.config)
			var mend func()
			o := c.run(f, func() { mend = breakStore(f) })
			mend()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			ended, err := f.Wait(ctx, o.ID)
			must(t, err)
			if ended.State != platform.OneOffEnded || ended.Error != c.reason || ended.ExitCode != exitNever {
				t.Errorf("it ended as %+v", ended)
			}
		})
	}
}

func TestEndAllEndsWhatAnAppHas(t *testing.T) {
	f := newFixture(t)
	f.engine.Program = func(ctx context.Context, _ oneofftest.Process) int { <-ctx.Done(); return 143 }
	f.start(platform.OneOff{Command: "x", Detached: true}, Attached{})
	f.start(platform.OneOff{Command: "y"}, Attached{})
	must(t, f.store.DeleteApp(t.Context(), f.user, f.app.ID))
	must(t, f.EndAll(t.Context(), f.app.ID))
	if rows, _ := f.roster.Snapshot(); len(rows) > 0 {
		t.Errorf("left in the roster: %+v", rows)
	}
	if len(f.live) > 0 {
		t.Errorf("left: %+v", f.live)
	}
}

func (f *fixture) release() platform.Release {
	return platform.Release{ID: f.app.ReleaseID, AppID: f.app.ID}
}

func TestAHookWritesToItsDeploymentAndToTheLog(t *testing.T) {
	f := newFixture(t)
	f.engine.Program = func(_ context.Context, p oneofftest.Process) int {
		io.WriteString(p.Out, "migrating\nhalf a ")
		io.WriteString(p.Out, "line")
		return 0
	}
	var out bytes.Buffer
	must(t, f.RunHook(t.Context(), f.release(), "bin/migrate", &out))
	if out.String() != "migrating\nhalf a line" {
		t.Errorf("the deployment got %q", out.String())
	}
	f.wantSaid("postdeploy-1: migrating", "postdeploy-1: half a line")
	w := f.engine.Started()[0].Workload
	if w.Kind != platform.KindPostdeploy || w.Type != "postdeploy" || w.Size.Name != "M" || w.Env["SCALINGO_USER_ID"] != "" {
		t.Errorf("the engine got %+v", w)
	}
}

func TestAHookThatFails(t *testing.T) {
	f := newFixture(t)
	wantHookError := func(program func(context.Context, oneofftest.Process) int, text string) {
		t.Helper()
		f.engine.Program = program
		err := f.RunHook(t.Context(), f.release(), "bin/migrate", io.Discard)
		var failed *HookError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want a HookError with %q", err, text)
		}
	}
	wantHookError(func(context.Context, oneofftest.Process) int { return 3 }, "exit code 3")
	f.engine.Failure = "no address left"
	wantHookError(nil, "no address left")
	f.HookLimit = 30 * time.Millisecond
	wantHookError(func(ctx context.Context, _ oneofftest.Process) int { <-ctx.Done(); return 143 }, "status -128")

	// A server that stops ends it, which is not the hook's fault.
	f.HookLimit = time.Minute
	reason := errors.New("the server is stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	f.engine.Program = func(ctx context.Context, _ oneofftest.Process) int {
		cancel(reason)
		<-ctx.Done()
		return 143
	}
	if err := f.RunHook(ctx, f.release(), "bin/migrate", io.Discard); !errors.Is(err, reason) {
		t.Errorf("error %v, want %v", err, reason)
	}
}
