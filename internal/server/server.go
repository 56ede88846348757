package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atollhq/atoll/internal/api"
	"github.com/atollhq/atoll/internal/build"
	"github.com/atollhq/atoll/internal/control"
	"github.com/atollhq/atoll/internal/deploy"
	"github.com/atollhq/atoll/internal/diagnosis"
	"github.com/atollhq/atoll/internal/diagnosis/inside"
	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/discovery"
	"github.com/atollhq/atoll/internal/engine/containerd"
	"github.com/atollhq/atoll/internal/flows"
	"github.com/atollhq/atoll/internal/logs"
	"github.com/atollhq/atoll/internal/oneoff"
	"github.com/atollhq/atoll/internal/policy"
	"github.com/atollhq/atoll/internal/reconcile"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/router"
	"github.com/atollhq/atoll/internal/store"
	"github.com/atollhq/atoll/internal/upkeep"
)

// Run runs the server until ctx ends, then stops what belongs to the process.
// Containers go on. One server may use a data folder, and a run folder, at a
// time.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	unlock, err := lock(cfg)
	if err != nil {
		return err
	}
	defer unlock()
	s := &machine{cfg: cfg, log: log, roster: roster.New(), directory: directory.New()}
	defer s.close()
	// What fails ends all; first the failure of a view, which it stems from.
	s.running, ctx = errgroup.WithContext(ctx)
	s.running.Go(func() error {
		if err := s.open(ctx); err != nil {
			return err
		}
		return s.serve(ctx)
	})
	if err := s.running.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	s.log.Info("Atoll stops; containers go on")
	return nil
}

// Names in the data folder; the engine has one in the run folder too, and so
// has the lock, another one in case both are the same folder.
const (
	databaseName = "atoll.db"
	lockName     = "server.lock"
	runLockName  = "node.lock"
	engineName   = "engine"
)

// machine is a server under way.
type machine struct {
	cfg       Config
	log       *slog.Logger
	roster    *roster.Roster
	directory *directory.Directory

	store      *store.Store
	node       *node
	policies   *policy.Service
	flows      *flows.Service
	refusals   *flows.Refusals
	engine     *containerd.Engine
	logs       appLogs
	reconciler *reconcile.Reconciler
	oneOffs    *oneoff.Service
	builder    *build.Builder
	streams    *deploy.Streams
	pipeline   *deploy.Pipeline
	control    *control.Control
	upkeep     *upkeep.Upkeep
	accepted   bool // somebody accepted removals just before this start

	// The views: names, who is ready, routes.
	observer *discovery.Observer
	routes   *router.Router
	edge     net.Listener

	running *errgroup.Group
	closers []func() error
}

// open starts everything in the order of dependence: first what carries
// traffic, then what runs, then what users talk to. The engine lets the views
// begin as soon as it knows what runs.
func (s *machine) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{s.openStore, s.openNode, s.openPolicies, s.openViews, s.openEngine, s.openControl} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *machine) openStore(ctx context.Context) (err error) {
	if s.store, err = openStore(ctx, s.cfg); err != nil {
		return err
	}
	s.closers = append(s.closers, s.store.Close)
	n, err := s.store.CountUsers(ctx)
	if err != nil {
		return fmt.Errorf("cannot look for users: %w", err)
	}
	if n == 0 {
		return errors.New("there is no user yet: run \"atoll init\" first, with the same --data-dir")
	}
	return control.FillDirectory(ctx, s.store, s.directory, s.cfg.BaseDomain)
}

func (s *machine) openNode(context.Context) (err error) {
	if s.node, err = openNode(s.cfg, s.roster, s.directory, s.log); err != nil {
		return err
	}
	s.closers = append(s.closers, s.node.close)
	return nil
}

// openPolicies tells the switch the policies before any container is. A switch
// that refuses goes on with those it has, and is told again.
func (s *machine) openPolicies(ctx context.Context) error {
	s.policies = policy.New(policy.Config{Store: s.store, Switch: s.node.private, Log: s.log})
	if err := s.policies.Apply(ctx); err != nil {
		s.log.Error("The network does not have the policies yet", "error", err)
	}
	s.flows = flows.New(flows.Config{Switch: s.node.private, Roster: s.roster, Directory: s.directory, Groups: s.policies})
	s.refusals = flows.NewRefusals(flows.RefusalsConfig{Flows: s.flows, Ledger: s.store, Log: s.log})
	return nil
}

func (s *machine) openEngine(ctx context.Context) (err error) {
	s.logs = appLogs{logs.NewStore(s.data("logs"))}
	s.closers = append(s.closers, s.logs.Close)
	logger, err := loggerPath(s.cfg)
	if err != nil {
		return err
	}
	if s.accepted, err = upkeep.TakeConsent(s.cfg.RunDir); err != nil {
		return err
	}
	s.engine, err = containerd.New(ctx, containerd.Config{
		Address: s.cfg.Containerd, DataDir: s.data(engineName), RunDir: filepath.Join(s.cfg.RunDir, engineName),
		LogDir: s.data("logs"), LoggerPath: logger, CgroupParent: s.cfg.CgroupParent, Node: s.cfg.Node,
		Sink: s.roster, Found: func() { s.serveViews(ctx) }, Network: containerNetwork{s.node.sandboxes, s.accepted}, ResolvConf: s.node.resolvConf(), Log: s.log,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.engine.Close)
	return nil
}

func (s *machine) openControl(ctx context.Context) (err error) {
	s.reconciler = &reconcile.Reconciler{Store: s.store, Engine: s.engine, Roster: s.roster, Groups: s.policies, Region: s.cfg.Region, Log: s.log}
	if s.oneOffs, err = oneoff.New(oneoff.Config{
		Store: s.store, Engine: s.engine, Roster: s.roster, Compose: s.reconciler.Compose,
		OpenLog: func(appID, label string) (oneoff.AppLog, error) { return s.logs.Container(appID, label) },
		Dir:     s.data("uploads"), Log: s.log,
	}); err != nil {
		return err
	}
	if s.builder, err = build.New(build.Config{
		Dir: s.data("build"), StackLayout: s.cfg.stackLayout(), Engine: s.engine, Log: s.log,
		Stack: build.Stack{Name: stackName, RunRef: stackRunRef, BuildRef: stackBuildRef},
	}); err != nil {
		return err
	}
	s.streams = &deploy.Streams{Dir: s.data("deployments")}
	if s.pipeline, err = deploy.New(ctx, deploy.Config{
		Store: s.store, Builder: s.builder, Images: s.engine, Reconciler: s.reconciler, Hooks: s.oneOffs, Streams: s.streams, Log: s.log,
		Source:   func(id string) string { return api.SourcePath(s.data("sources"), id) },
		Deployed: s.forgetSource,
		Changed:  func(appID string) { s.control.Publish(appID) },
	}); err != nil {
		return err
	}
	s.control = control.New(control.Config{
		Store: s.store, Reconciler: s.reconciler, Pipeline: s.pipeline, Directory: s.directory, Policies: s.policies,
		EndOneOffs: s.oneOffs.EndAll, Signal: s.engine.Signal, Roster: s.roster,
		BaseDomain: s.cfg.BaseDomain, MaxContainers: s.cfg.MaxContainers, Forget: s.forgetApp, Log: s.log,
	})
	s.closers = append(s.closers, func() error { s.pipeline.Close(); s.control.Close(); return nil })
	if err := s.control.Recover(ctx); err != nil {
		return fmt.Errorf("cannot recover the last state: %w", err)
	}
	if err := s.oneOffs.Recover(ctx); err != nil {
		return fmt.Errorf("cannot recover the one-offs: %w", err)
	}
	if err := s.reconciler.ApplyAll(ctx); err != nil {
		// One app that cannot be applied must not keep the others down.
		s.log.Error("Cannot apply every app", "error", err)
	}
	return s.openUpkeep()
}

// serve runs what is beside the views, and the API, until ctx ends or one of
// them fails.
func (s *machine) serve(ctx context.Context) error {
	for _, run := range []func(context.Context) error{
		s.policies.Run, s.flows.Run, s.refusals.Run, s.upkeep.Run, s.oneOffs.Run, s.oneOffs.RunSchedule,
		func(ctx context.Context) error { s.control.WatchNetworks(ctx); return nil },
	} {
		s.running.Go(func() error { return run(ctx) })
	}
	return s.serveAPI(ctx)
}

// serveAPI answers the API once the stack can be deployed on, or cannot be
// loaded for now: that is no reason to end what runs.
func (s *machine) serveAPI(ctx context.Context) error {
	image := stackImage{layout: s.cfg.stackLayout(), engine: s.engine, log: s.log}
	s.log.Info("Loading the stack image; the first time takes some seconds", "layout", image.layout)
	if err := image.load(ctx); ctx.Err() == nil && err != nil {
		s.log.Error("The stack image cannot be loaded. Deployments use the one that was loaded before, or fail when there is none; everything else goes on. It is tried again until it works", "error", err, "every", stackRetry)
		s.running.Go(func() error { return image.loadLater(ctx) })
	}
	handler, err := api.New(ctx, api.Config{
		Store: s.store, Control: s.control, OneOffs: s.oneOffs, Deployments: s.streams, Logs: s.logs, Roster: s.roster, Diagnoser: s.diagnoser(),
		Policies: s.policies, Traffic: s.flows, Refusals: s.refusals,
		Sources: s.data("sources"), AppURL: s.appURL, ClearCache: s.builder.DeleteCache,
		URL: s.cfg.APIURL, Region: s.cfg.Region, Log: s.log,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.cfg.APIListen)
	if err != nil {
		return fmt.Errorf("cannot listen for the API on %s: %w; stop what uses it or set api_listen", s.cfg.APIListen, err)
	}
	s.log.Info("Atoll is up", "api", s.cfg.APIListen)
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("cannot go on serving the API: %w", err)
	case <-ctx.Done():
	}
	handler.Close()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(srv.Shutdown(limit), srv.Close())
}

// diagnoser answers `atoll doctor FROM TO PORT`.
func (s *machine) diagnoser() *diagnosis.Doctor {
	return diagnosis.New(diagnosis.Config{
		Roster: s.roster, Directory: s.directory, Store: s.store, Inside: inside.Network{},
		Resolver: netip.AddrPortFrom(s.node.gateway, 53),
		Policies: pathPolicies{s.policies}, Drops: pathDrops{s.flows, s.store}, Outside: s.node.outside,
	})
}

func (s *machine) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i](); err != nil {
			s.log.Error("Cannot end cleanly", "error", err)
		}
	}
}

func (s *machine) data(parts ...string) string {
	return filepath.Join(append([]string{s.cfg.DataDir}, parts...)...)
}

func (s *machine) appURL(name string) string {
	host, port := name+"."+s.cfg.BaseDomain, s.cfg.PublicPort
	if port == "" {
		_, port, _ = net.SplitHostPort(s.cfg.HTTPListen)
	}
	if port != "80" && port != "http" {
		host = net.JoinHostPort(host, port)
	}
	return "http://" + host
}

// forgetApp deletes what lies on disk of an app that is gone.
func (s *machine) forgetApp(appID string) error {
	return errors.Join(s.logs.Delete(appID), s.builder.DeleteCache(appID))
}

func (s *machine) forgetSource(id string) {
	if err := os.Remove(api.SourcePath(s.data("sources"), id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Error("Cannot delete a source that was deployed", "source", id, "error", err)
	}
}

// lock makes sure that one server at a time uses a data folder, and a run
// folder: all that is opened from then on replaces what is there of the node.
func lock(cfg Config) (unlock func(), err error) {
	data, err := lockDir(cfg.DataDir, lockName)
	if err != nil {
		return nil, err
	}
	run, err := lockDir(cfg.RunDir, runLockName)
	if err != nil {
		data.Close()
		return nil, err
	}
	return func() { run.Close(); data.Close() }, nil
}

func lockDir(dir, name string) (*os.File, error) {
	// Containers' users pass through to their own files, hence the x.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("cannot create %s: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another atoll server uses %s: stop it first, or choose another data_dir and run_dir", dir)
	}
	return f, nil
}

// loggerPath finds the log writer, beside this program unless configured.
func loggerPath(cfg Config) (string, error) {
	if cfg.Logger != "" {
		return filepath.Abs(cfg.Logger)
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot find atoll-logger: %w; set logger", err)
	}
	return filepath.Join(filepath.Dir(self), "atoll-logger"), nil
}
