package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"

	"github.com/atollhq/atoll/internal/deploy"
	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/policy"
	"github.com/atollhq/atoll/internal/reconcile"
	"github.com/atollhq/atoll/internal/store"
)

// Config is what a Control needs.
type Config struct {
	Store      *store.Store
	Reconciler *reconcile.Reconciler
	Pipeline   *deploy.Pipeline
	Directory  *directory.Directory
	Policies   *policy.Service
	// BaseDomain is what public names end in: <app>.<base domain>.
	BaseDomain string
	// EndOneOffs ends what runs once of an app that is going away.
	EndOneOffs func(ctx context.Context, appID string) error
	// Signal sends a signal to the first process of a container.
	Signal func(ctx context.Context, containerID string, sig syscall.Signal) error
	// Roster shows what runs.
	Roster reconcile.Roster
	// MaxContainers is the most containers of a process type; 0 means
	// platform.MaxContainersPerType.
	MaxContainers int
	// Forget is told that an app is gone, to delete its logs and caches.
	Forget func(appID string) error
	Log    *slog.Logger
}

// Control serves requests. It is safe for concurrent use.
type Control struct {
	Config

	ctx  context.Context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	// publishing is held from the reading of an app until the directory has
	// it: the last to write it is to be the last who read it.
	publishing sync.Mutex
}

// New returns a Control. Call Recover before the first request.
func New(cfg Config) *Control {
	if cfg.MaxContainers == 0 {
		cfg.MaxContainers = platform.MaxContainersPerType
	}
	c := &Control{Config: cfg}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	return c
}

// Close interrupts operations that wait and waits for their end.
func (c *Control) Close() {
	c.stop(errInterrupted)
	c.wg.Wait()
}

var errInterrupted = errors.New("the server was stopped during this operation; its containers are as they were or as wished, try again if needed")

// Recover ends what an earlier process left unfinished: workloads that were never switched to are dropped, operations
// end in error, apps accept requests again. Then the reconciler may repeat
// every wish.
func (c *Control) Recover(ctx context.Context) error {
	ops, err := c.Store.UnfinishedOperations(ctx)
	if err != nil {
		return fmt.Errorf("cannot list operations: %w", err)
	}
	for _, o := range ops {
		o.Status, o.Error = platform.OperationError, errInterrupted.Error()
		if err := c.Store.Commit(ctx, o.AppID, &store.Change{Operation: &o}); err != nil {
			return err
		}
	}
	apps, err := c.Store.AllApps(ctx)
	if err != nil {
		return fmt.Errorf("cannot list apps: %w", err)
	}
	for _, a := range apps {
		if err := c.recoverApp(ctx, a); err != nil {
			return fmt.Errorf("cannot recover app %s: %w", a.Name, err)
		}
	}
	return nil
}

// FillDirectory writes every app of the store into the directory. The server
// calls it at its start, before anything reads the directory.
func FillDirectory(ctx context.Context, s *store.Store, d *directory.Directory, baseDomain string) error {
	apps, err := s.AllApps(ctx)
	if err != nil {
		return fmt.Errorf("cannot list apps: %w", err)
	}
	entries := make([]directory.App, 0, len(apps))
	for _, a := range apps {
		e, err := entry(ctx, s, baseDomain, a.ID)
		if err != nil {
			return fmt.Errorf("cannot publish app %s: %w", a.Name, err)
		}
		entries = append(entries, e)
	}
	d.Set(entries)
	return nil
}

// Publish writes an app as the store has it now into the directory.
func (c *Control) Publish(appID string) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	e, err := entry(c.ctx, c.Store, c.BaseDomain, appID)
	if platform.CodeOf(err) == platform.CodeNotFound { // destroyed meanwhile
		c.Directory.Delete(appID)
		return
	}
	if err != nil {
		c.Log.Error("Cannot publish an app to the views; the next start does", "app", appID, "error", err)
		return
	}
	c.Directory.Put(e)
}

// Private

func (c *Control) recoverApp(ctx context.Context, a platform.App) error {
	rows, err := c.Store.Workloads(ctx, a.ID)
	if err != nil {
		return err
	}
	ch := &store.Change{}
	for _, row := range rows {
		if !row.Active {
			ch.Drop = append(ch.Drop, row.ID)
		}
	}
	if a.Status == platform.AppScaling || a.Status == platform.AppRestarting {
		ch.Status = restingStatus(rows)
	}
	return c.Store.Commit(ctx, a.ID, ch)
}

// restingStatus is the status of an app whose workloads are these when
// nothing is going on.
func restingStatus(rows []store.Workload) platform.AppStatus {
	for _, row := range rows {
		if row.Active && len(row.Numbers) > 0 {
			return platform.AppRunning
		}
	}
	return platform.AppStopped
}

// entry is an app as the views see it.
func entry(ctx context.Context, s *store.Store, baseDomain, appID string) (directory.App, error) {
	var e directory.App
	a, err := s.AppByID(ctx, appID)
	if err != nil {
		return e, err
	}
	p, err := s.ProjectByID(ctx, a.ProjectID)
	if err != nil {
		return e, err
	}
	types, err := s.Formation(ctx, appID)
	if err != nil {
		return e, err
	}
	e = directory.App{ID: a.ID, Name: a.Name, ProjectID: p.ID, NetworkID: p.Network.ID, Deployed: a.ReleaseID != "", RouterLogs: a.RouterLogs,
		Hosts: []string{strings.ToLower(a.Name + "." + baseDomain)}}
	for _, t := range types {
		e.Types = append(e.Types, t.Name)
	}
	return e, nil
}
