package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/build"
	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/oneoff"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/reconcile"
	"github.com/atollhq/atoll/internal/store"
)

// Builder makes images; a *build.Builder does.
type Builder interface {
	Build(ctx context.Context, req build.Request) (build.Result, error)
}

// Hooks runs postdeploy hooks; an *oneoff.Service does. The error of one that
// failed is an *oneoff.HookError.
type Hooks interface {
	RunHook(ctx context.Context, release platform.Release, command string, out io.Writer) error
}

// Config is what a Pipeline needs.
type Config struct {
	Store      *store.Store
	Builder    Builder
	Images     engine.Images
	Reconciler *reconcile.Reconciler
	Hooks      Hooks
	Streams    *Streams
	// Source returns the path of an uploaded archive; Deployed is called
	// when its deployment is over.
	Source   func(sourceID string) string
	Deployed func(sourceID string)
	// Changed is called after the app's process types or release changed.
	Changed func(appID string)
	Log     *slog.Logger
}

// Pipeline deploys. It is safe for concurrent use.
type Pipeline struct {
	Config

	ctx  context.Context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup
}

// keptReleases is how many images of an app stay beside the current one.
const keptReleases = 2

// New returns a pipeline after it aborted what an earlier process left
// unfinished.
func New(ctx context.Context, cfg Config) (*Pipeline, error) {
	p := &Pipeline{Config: cfg}
	p.ctx, p.stop = context.WithCancelCause(context.Background())
	if err := os.MkdirAll(cfg.Streams.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot prepare the deployment logs: %w", err)
	}
	if err := p.abortUnfinished(ctx); err != nil {
		return nil, fmt.Errorf("cannot abort unfinished deployments: %w", err)
	}
	return p, nil
}

// Start queues a deployment of an uploaded source and returns at once.
// CodeConflict while another one of the app runs, CodeInvalid when the
// source is not there.
func (p *Pipeline) Start(ctx context.Context, user platform.User, app platform.App, gitRef, sourceID string) (platform.Deployment, error) {
	if _, err := os.Stat(p.Source(sourceID)); err != nil {
		return platform.Deployment{}, platform.Invalid("source_url", "nothing was uploaded there: upload the archive first, then create the deployment")
	}
	d, err := p.Store.CreateDeployment(ctx, user, app.ID, gitRef, sourceID)
	if err != nil {
		return d, err
	}
	out, err := p.Streams.begin(d)
	if err != nil {
		d.Status, d.Error = platform.DeploymentAborted, err.Error()
		return d, errors.Join(err, p.Store.Commit(ctx, app.ID, &store.Change{Deployment: &d}))
	}
	p.wg.Go(func() {
		r := &run{Pipeline: p, user: user, app: app, deployment: d, out: out}
		r.do(p.ctx)
	})
	return d, nil
}

// Forget drops what is kept of an app that was destroyed.
func (p *Pipeline) Forget(appID string) { p.Streams.forget(appID) }

// Close aborts what runs and waits for its end.
func (p *Pipeline) Close() {
	p.stop(errStopped)
	p.wg.Wait()
}

var errStopped = errors.New("the server was stopped during this deployment; deploy again")

// Private

// abortUnfinished ends deployments of an earlier process. The containers
// they had begun are workloads never switched to; control drops those.
func (p *Pipeline) abortUnfinished(ctx context.Context) error {
	unfinished, err := p.Store.UnfinishedDeployments(ctx)
	if err != nil {
		return err
	}
	for _, d := range unfinished {
		d.Status, d.Error = platform.DeploymentAborted, errStopped.Error()
		if err := p.Store.Commit(ctx, d.AppID, &store.Change{Deployment: &d}); err != nil {
			return err
		}
		// A client that reconnects is to see the end.
		if out, err := p.Streams.begin(d); err == nil {
			fmt.Fprintf(out, " !     %v\n", errStopped)
			out.status(d.Status)
			out.close() //nolint:errcheck // the stream has it
		}
		p.Log.Warn("Aborted a deployment that was under way when the last process ended", "deployment", d.ID, "app", d.AppID)
	}
	return nil
}

// run is one deployment under way.
type run struct {
	*Pipeline
	user       platform.User
	app        platform.App
	deployment platform.Deployment
	out        *output
	release    platform.Release
	// types is the formation after the switch, fresh its containers.
	types []platform.ProcessType
	fresh []store.Workload
	// jobs are the scheduled tasks after the switch, never nil.
	jobs []platform.Job
}

// failure is a final status other than success, with what the user is told.
type failure struct {
	status platform.DeploymentStatus
	error
}

func (r *run) do(ctx context.Context) {
	err := r.steps(ctx)
	if err != nil {
		r.fail(ctx, err)
	}
	if err := r.out.close(); err != nil {
		r.Log.Error("Cannot close a deployment log", "deployment", r.deployment.ID, "error", err)
	}
	r.Deployed(r.deployment.SourceID)
}

func (r *run) steps(ctx context.Context) error {
	if err := r.progress(ctx, platform.DeploymentBuilding); err != nil {
		return err
	}
	result, err := r.build(ctx)
	if err != nil {
		return failure{platform.DeploymentBuildError, err}
	}
	defer result.Remove() //nolint:errcheck // the builder clears left-overs at its start
	if err := r.progress(ctx, platform.DeploymentPushing); err != nil {
		return err
	}
	if err := r.push(ctx, result); err != nil {
		return failure{platform.DeploymentBuildError, err}
	}
	if err := r.progress(ctx, platform.DeploymentStarting); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.hook(ctx); err != nil {
		return err
	}
	return r.switchOver(ctx)
}

// progress saves a status and shows it.
func (r *run) progress(ctx context.Context, s platform.DeploymentStatus) error {
	r.deployment.Status = s
	if err := r.Store.Commit(ctx, r.app.ID, &store.Change{Deployment: &r.deployment}); err != nil {
		return fmt.Errorf("cannot save the deployment: %w", err)
	}
	r.out.status(s)
	return nil
}

func (r *run) build(ctx context.Context) (build.Result, error) {
	vars, err := r.Store.Variables(ctx, r.app.ID)
	if err != nil {
		return build.Result{}, fmt.Errorf("cannot read the variables: %w", err)
	}
	d := r.deployment
	r.release = platform.Release{ID: platform.NewID(), AppID: r.app.ID, DeploymentID: d.ID,
		Image: "atoll.local/app/" + r.app.ID + ":" + d.ID, Version: d.GitRef}
	if r.release.Version == "" {
		r.release.Version = d.ID
	}
	result, err := r.Builder.Build(ctx, build.Request{
		ID: d.ID, AppID: r.app.ID, AppName: r.app.Name, Archive: r.Source(d.SourceID), Version: r.release.Version,
		Variables: reconcile.Environment(vars), ImageRef: r.release.Image, Output: r.out,
	})
	r.release.Commands, r.release.ImageSize = result.Commands, result.Size
	r.deployment.PostdeployHook = result.Postdeploy
	r.jobs = []platform.Job{}
	for _, j := range result.Jobs {
		r.jobs = append(r.jobs, platform.Job{Schedule: j.Schedule, Command: j.Command, Size: j.Size})
	}
	return result, err
}

func (r *run) push(ctx context.Context, result build.Result) error {
	r.say("-----> Storing the image (%.1f MB on top of the stack)", float64(result.Size)/1e6)
	if err := r.Images.ImportLayout(ctx, result.Layout, r.release.Image); err != nil {
		return fmt.Errorf("cannot store the image: %w", err)
	}
	r.deployment.Image, r.deployment.ImageSize = r.release.Image, result.Size
	return nil
}

// start creates the new containers beside the old ones and waits for them.
func (r *run) start(ctx context.Context) error {
	types, err := r.Store.Formation(ctx, r.app.ID)
	if err != nil {
		return fmt.Errorf("cannot read the formation: %w", err)
	}
	r.types = newFormation(types, r.release.Commands)
	r.fresh = freshWorkloads(r.types, r.release)
	for _, t := range r.types {
		if _, ok := r.release.Commands[t.Name]; !ok && t.Amount > 0 {
			r.say(" !     %s is scaled to %d, but this version has no such process type: none of it is started", t.Name, t.Amount)
		}
	}
	// The formation waits for the switch: a failure must not change it.
	c := &store.Change{Release: &r.release, Put: r.fresh}
	if err := r.Store.Commit(ctx, r.app.ID, c); err != nil {
		r.fresh = nil
		return fmt.Errorf("cannot save the new containers: %w", err)
	}
	for _, w := range r.fresh {
		r.say("-----> Starting %s: %d container(s) of size %s", w.Type, len(w.Numbers), w.Size)
	}
	if err := r.Reconciler.Apply(ctx, r.app.ID); err != nil {
		return fmt.Errorf("cannot start the new containers: %w", err)
	}
	if err := r.Reconciler.Await(ctx, r.fresh); err != nil {
		return startFailure(err)
	}
	return nil
}

// hook runs the postdeploy command beside the new containers, which wait for
// the switch (CL-16).
func (r *run) hook(ctx context.Context) error {
	command := r.deployment.PostdeployHook
	if command == "" {
		return nil
	}
	r.say("-----> Running the postdeploy hook: %s", command)
	err := r.Hooks.RunHook(ctx, r.release, command, r.out)
	var failed *oneoff.HookError
	if errors.As(err, &failed) {
		return failure{platform.DeploymentHookError, err}
	}
	return err
}

func startFailure(err error) error {
	var late *reconcile.NotReady
	if !errors.As(err, &late) {
		return err
	}
	if late.Timeout {
		return failure{platform.DeploymentTimeoutError, err}
	}
	return failure{platform.DeploymentCrashedError, err}
}

// switchOver puts the new containers into service in one transaction, then
// lets the old ones drain and stop.
func (r *run) switchOver(ctx context.Context) error {
	old, err := r.oldWorkloads(ctx)
	if err != nil {
		return err
	}
	for i := range r.fresh {
		r.fresh[i].Active = true
	}
	status := platform.AppRunning
	if len(r.fresh) == 0 {
		status = platform.AppStopped
	}
	r.deployment.Status, r.deployment.FinishedAt = platform.DeploymentSuccess, time.Now()
	err = r.Store.Commit(ctx, r.app.ID, &store.Change{
		Types: r.types, Release: &r.release, Current: true, Put: r.fresh, Drop: old, Jobs: r.jobs, Status: status,
		Deployment: &r.deployment, Event: "deployment", EventData: r.eventData(), User: r.user,
	})
	if err != nil {
		return fmt.Errorf("cannot switch to the new containers: %w", err)
	}
	// From here on the new version is the desired one: whatever goes wrong
	// below is made good by the next reconciliation. The server may be stopping:
	// told half of it, the engine would let the old containers go while the new
	// ones wait.
	ctx = context.WithoutCancel(ctx)
	r.fresh = nil
	if err := r.Reconciler.Replace(ctx, r.app.ID, old...); err != nil {
		r.Log.Error("Cannot carry out a switch completely; the next look at the networks, or the next start, repeats it", "app", r.app.Name, "error", err)
	}
	r.Changed(r.app.ID)
	r.say("-----> Deployed")
	r.out.status(platform.DeploymentSuccess)
	r.removeOldImages(ctx)
	return nil
}

func (r *run) oldWorkloads(ctx context.Context) ([]string, error) {
	rows, err := r.Store.Workloads(ctx, r.app.ID)
	if err != nil {
		return nil, fmt.Errorf("cannot read the workloads: %w", err)
	}
	var old []string
	for _, row := range rows {
		if !slices.ContainsFunc(r.fresh, func(w store.Workload) bool { return w.ID == row.ID }) {
			old = append(old, row.ID)
		}
	}
	return old, nil
}

// fail ends the deployment without having changed what runs.
func (r *run) fail(ctx context.Context, err error) {
	var f failure
	status := platform.DeploymentCrashedError
	switch {
	case ctx.Err() != nil:
		status, err = platform.DeploymentAborted, context.Cause(ctx)
	case errors.As(err, &f):
		status, err = f.status, f.error
	}
	// The server may be stopping; what has to be tidied is tidied anyway.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	r.say(" !     %s", r.userText(err))
	r.say(" !     The deployment failed (%s). What ran before goes on unchanged.", status)
	drop := make([]string, 0, len(r.fresh))
	for _, w := range r.fresh {
		drop = append(drop, w.ID)
	}
	r.deployment.Status, r.deployment.Error, r.deployment.FinishedAt = status, r.userText(err), time.Now()
	err = errors.Join(
		r.Store.Commit(ctx, r.app.ID, &store.Change{Drop: drop, Deployment: &r.deployment, Event: "deployment", EventData: r.eventData(), User: r.user}),
		r.Reconciler.Remove(ctx, drop...),
		r.Images.DeleteImage(ctx, r.release.Image),
	)
	if err != nil {
		r.Log.Error("Cannot tidy up after a failed deployment; the next start repeats it", "app", r.app.Name, "error", err)
	}
	r.out.status(status)
}

// userText keeps faults of the machine out of what users see, and logs them.
func (r *run) userText(err error) string {
	var user *build.Error
	var late *reconcile.NotReady
	var hook *oneoff.HookError
	if errors.As(err, &user) || errors.As(err, &late) || errors.As(err, &hook) || errors.Is(err, errStopped) {
		return err.Error()
	}
	r.Log.Error("A deployment failed by a fault of the machine", "app", r.app.Name, "deployment", r.deployment.ID, "error", err)
	return fmt.Sprintf("an internal error ended this deployment; the operator finds it in the server's log under %s", r.deployment.ID)
}

func (r *run) say(format string, args ...any) {
	io.WriteString(r.out, fmt.Sprintf(format, args...)+"\n") //nolint:errcheck // output never fails
}

func (r *run) eventData() map[string]any {
	d := r.deployment
	return map[string]any{"deployment_id": d.ID, "deployment_uuid": d.ID, "pusher": r.user.Username, "git_ref": d.GitRef,
		"status": string(d.Status), "duration": int(d.FinishedAt.Sub(d.CreatedAt).Seconds())}
}

// removeOldImages deletes images that no container can come back to.
func (r *run) removeOldImages(ctx context.Context) {
	releases, err := r.Store.Releases(ctx, r.app.ID)
	if err != nil {
		r.Log.Error("Cannot list releases", "app", r.app.Name, "error", err)
		return
	}
	for _, old := range releases[min(len(releases), 1+keptReleases):] {
		if err := r.Images.DeleteImage(ctx, old.Image); err != nil {
			r.Log.Error("Cannot delete an old image", "image", old.Image, "error", err)
		}
	}
}
