package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// Engine is what a Reconciler needs of an engine.Engine.
type Engine interface {
	Apply(ctx context.Context, w platform.Workload) error
	Remove(ctx context.Context, workloadID string) error
	Workloads(ctx context.Context) ([]string, error)
}

// Roster shows what runs.
type Roster interface {
	Snapshot() ([]platform.Instance, <-chan struct{})
}

// Groups says by which number the node's switch knows a process type, and
// makes sure that it knows it.
type Groups interface {
	Group(ctx context.Context, appID, processType string) (uint32, error)
}

// Reconciler carries wishes from the store to the engine. It is safe for
// concurrent use.
type Reconciler struct {
	Store  *store.Store
	Engine Engine
	Roster Roster
	// Groups may be nil: then containers have none, and no policy names them.
	Groups Groups
	// Region is REGION_NAME in containers.
	Region string
	Log    *slog.Logger

	// applying is held from the reading of rows until the engine knows them:
	// whoever read earlier must not tell later, or what a switch has just put
	// into service goes out of it again, and what was removed comes back.
	applying sync.Mutex
}

// Apply tells the engine all workloads of an app.
func (r *Reconciler) Apply(ctx context.Context, appID string) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	rows, err := r.Store.Workloads(ctx, appID)
	if err != nil {
		return fmt.Errorf("cannot read the workloads of app %s: %w", appID, err)
	}
	return r.apply(ctx, appID, rows)
}

// Remove tells the engine that nobody wants the workloads any more.
func (r *Reconciler) Remove(ctx context.Context, workloadIDs ...string) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	var errs []error
	for _, id := range workloadIDs {
		errs = append(errs, r.Engine.Remove(ctx, id))
	}
	return errors.Join(errs...)
}

// RemoveApp tells the engine that nobody wants the containers of an app any
// more. It looks for them in the roster: the app's rows are gone.
func (r *Reconciler) RemoveApp(ctx context.Context, appID string) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	instances, _ := r.Roster.Snapshot()
	removed := map[string]bool{}
	var errs []error
	for _, i := range instances {
		if i.AppID == appID && i.Kind == platform.KindApp && !removed[i.WorkloadID] {
			removed[i.WorkloadID] = true
			errs = append(errs, r.Engine.Remove(ctx, i.WorkloadID))
		}
	}
	return errors.Join(errs...)
}

// Replace tells the engine all workloads of an app, then that nobody wants some
// others any more. Those stay when it could not be told what takes their place:
// RemoveUnwanted makes good for both.
func (r *Reconciler) Replace(ctx context.Context, appID string, goneIDs ...string) error {
	if err := r.Apply(ctx, appID); err != nil {
		return err
	}
	return r.Remove(ctx, goneIDs...)
}

// ApplyAll repeats every wish, and removes from the engine the workloads
// without a row, see RemoveUnwanted. It is called at every start, after the
// engine reported what runs.
func (r *Reconciler) ApplyAll(ctx context.Context) error {
	apps, err := r.Store.AllApps(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the apps: %w", err)
	}
	var errs []error
	for _, a := range apps {
		errs = append(errs, r.Apply(ctx, a.ID))
	}
	_, err = r.RemoveUnwanted(ctx, false)
	return errors.Join(append(errs, err)...)
}

// RemoveUnwanted removes from the engine the workloads without a row. Only
// those whose app is, or was, in the database: that one gave them up. Others
// run for apps of another database (it was lost, and an empty one took its
// place), and nobody asked for their end: they are returned as refused, unless
// accept is true.
func (r *Reconciler) RemoveUnwanted(ctx context.Context, accept bool) (refused []string, err error) {
	// The engine's list first: what is added to it later has a row already.
	held, err := r.Engine.Workloads(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list what the engine holds: %w", err)
	}
	wanted, err := r.wanted(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, id := range held {
		if wanted[id] {
			continue
		}
		appID := r.appOf(id)
		known, err := r.knows(ctx, appID)
		if err == nil && !known && !accept {
			refused = append(refused, id)
			continue
		}
		if err == nil && appID != "" {
			// A switch may have been committed and not told yet: what takes
			// the place of this one goes into service first.
			err = r.Apply(ctx, appID)
		}
		if err == nil {
			r.Log.Warn("Removing a workload that no app wants", "workload", id, "accepted", !known)
			err = r.Remove(ctx, id)
		}
		errs = append(errs, err)
	}
	return refused, errors.Join(errs...)
}

// Compose returns the workload of a one-off: what the app's containers have,
// and what is its own.
func (r *Reconciler) Compose(ctx context.Context, o platform.OneOff) (platform.Workload, error) {
	w, err := r.common(ctx, o.AppID)
	if err != nil {
		return w, err
	}
	row := store.Workload{ID: o.ID, Type: o.Type(), Generation: 1, Numbers: []int{o.Number}, ReleaseID: o.ReleaseID, Command: o.Command, Size: o.Size}
	if w, err = r.compose(ctx, w, row); err != nil {
		return w, err
	}
	w.Kind = o.Kind
	maps.Copy(w.Env, o.Env)
	if o.UserID != "" {
		w.Env["SCALINGO_USER_ID"] = o.UserID // EV-7
	}
	return w, nil
}

// Private

// wanted are the ids of all rows.
func (r *Reconciler) wanted(ctx context.Context) (map[string]bool, error) {
	apps, err := r.Store.AllApps(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the apps: %w", err)
	}
	wanted := map[string]bool{}
	for _, a := range apps {
		rows, err := r.Store.Workloads(ctx, a.ID)
		if err != nil {
			return nil, fmt.Errorf("cannot read the workloads of app %s: %w", a.Name, err)
		}
		for _, row := range rows {
			wanted[row.ID] = true
		}
	}
	oneOffs, err := r.Store.UnfinishedOneOffs(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the one-offs: %w", err)
	}
	for _, o := range oneOffs {
		wanted[o.ID] = true
	}
	return wanted, nil
}

// appOf is the app of a workload; "" when it has no container.
func (r *Reconciler) appOf(workloadID string) string {
	instances, _ := r.Roster.Snapshot()
	for _, i := range instances {
		if i.WorkloadID == workloadID {
			return i.AppID
		}
	}
	return ""
}

// knows reports whether an app is or was in the database. A workload of none
// has nothing to lose.
func (r *Reconciler) knows(ctx context.Context, appID string) (bool, error) {
	if appID == "" {
		return true, nil
	}
	return r.Store.KnowsApp(ctx, appID)
}

func (r *Reconciler) apply(ctx context.Context, appID string, rows []store.Workload) error {
	if len(rows) == 0 {
		return nil
	}
	common, err := r.common(ctx, appID)
	if err != nil {
		return err
	}
	var errs []error
	// The newest first: what takes over a number goes into service before the
	// row that gave it up is told so.
	for _, row := range slices.Backward(rows) {
		w, err := r.compose(ctx, common, row)
		if err == nil {
			err = r.Engine.Apply(ctx, w)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot apply workload %s (%s of app %s): %w", row.ID, row.Type, common.AppName, err))
		}
	}
	return errors.Join(errs...)
}

// common is what all workloads of an app share.
func (r *Reconciler) common(ctx context.Context, appID string) (platform.Workload, error) {
	var w platform.Workload
	app, err := r.Store.AppByID(ctx, appID)
	if err != nil {
		return w, err
	}
	project, err := r.Store.ProjectByID(ctx, app.ProjectID)
	if err != nil {
		return w, err
	}
	stack, err := r.Store.StackByID(ctx, app.StackID)
	if err != nil {
		return w, err
	}
	vars, err := r.Store.Variables(ctx, appID)
	if err != nil {
		return w, err
	}
	return platform.Workload{
		ProjectID: project.ID, Network: project.Network, AppID: app.ID, AppName: app.Name, Kind: platform.KindApp,
		Env: Environment(vars), Stack: stack.Name, Region: r.Region, StopGrace: platform.StopGrace,
	}, nil
}

// compose fills in what is particular to a row.
func (r *Reconciler) compose(ctx context.Context, w platform.Workload, row store.Workload) (platform.Workload, error) {
	release, err := r.Store.Release(ctx, row.ReleaseID)
	if err != nil {
		return w, err
	}
	if w.Size, err = platform.SizeByName(row.Size); err != nil {
		return w, err
	}
	if r.Groups != nil {
		if w.Group, err = r.Groups.Group(ctx, w.AppID, row.Type); err != nil {
			return w, err
		}
	}
	w.ID, w.Type, w.Generation, w.Numbers, w.Active = row.ID, row.Type, row.Generation, row.Numbers, row.Active
	w.Command, w.Image, w.Version = row.Command, release.Image, release.Version
	return w, nil
}

// Environment is the variables as containers see them: aliases resolved.
func Environment(vars []platform.Variable) map[string]string {
	env := make(map[string]string, len(vars))
	for _, v := range vars {
		env[v.Name] = v.Value
	}
	return platform.ResolveAliases(env)
}
