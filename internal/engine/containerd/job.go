package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
)

// Run implements engine.Engine.
func (e *Engine) Run(ctx context.Context, j engine.Job) (exitCode int, err error) {
	if err := checkJob(j); err != nil {
		return 0, err
	}
	done, err := e.beginJob(j.ID)
	if err != nil {
		return 0, err
	}
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errClosed) })()
	var task client.Task
	defer func() {
		// What was started is removed also when ctx has ended.
		if cleanErr := e.removeJob(context.WithoutCancel(ctx), j, task); err == nil {
			err = cleanErr
		} else if cleanErr != nil {
			e.log.Error("cannot remove a job", "job", j.ID, "error", cleanErr)
		}
	}()
	if err := e.createJob(ctx, j); err != nil {
		return 0, jobError(ctx, err)
	}
	output := &lockedWriter{w: j.Output}
	fifos := cio.NewCreator(cio.WithStreams(nil, output, output), cio.WithFIFODir(filepath.Join(e.cfg.RunDir, "fifo")))
	if task, err = e.startTask(ctx, jobID(j), fifos); err != nil {
		return 0, jobError(ctx, err)
	}
	return e.awaitJob(ctx, j)
}

// Private

func jobID(j engine.Job) string                 { return "job-" + j.ID }
func jobSnapshot(j engine.Job) string           { return jobID(j) + "-root" }
func (e *Engine) jobCgroup(j engine.Job) string { return e.cgroup(jobID(j)) }

func checkJob(j engine.Job) error {
	switch {
	case j.ID == "" || strings.ContainsAny(j.ID, "/ "):
		return fmt.Errorf("%q is no id for a job", j.ID)
	case j.Image == "" || len(j.Args) == 0 || j.Output == nil:
		return fmt.Errorf("job %s needs an image, arguments and an output", j.ID)
	}
	for _, m := range j.Mounts {
		if !filepath.IsAbs(m.Source) || !filepath.IsAbs(m.Target) {
			return fmt.Errorf("job %s: the paths of mount %q on %q must be absolute", j.ID, m.Source, m.Target)
		}
	}
	return nil
}

// beginJob counts a job, so that Close waits until it is removed.
func (e *Engine) beginJob(id string) (done func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	if e.jobs[id] {
		return nil, fmt.Errorf("a job with the id %s runs already", id)
	}
	e.jobs[id] = true
	e.work.Add(1)
	return func() {
		e.mu.Lock()
		delete(e.jobs, id)
		e.mu.Unlock()
		e.work.Done()
	}, nil
}

// jobError prefers the reason why ctx ended to what that caused.
func jobError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (e *Engine) createJob(ctx context.Context, j engine.Job) error {
	image, err := e.images.info(ctx, j.Image)
	if err != nil {
		return err
	}
	var sandbox Sandbox
	if j.Outside {
		if sandbox, err = e.setupJob(ctx, Request{InstanceID: j.ID, Outside: true}); err != nil {
			return fmt.Errorf("cannot connect the job to the outside: %w", err)
		}
	}
	spec, err := e.jobSpec(j, image, sandbox)
	if err != nil {
		return err
	}
	c := containers.Container{
		ID:          jobID(j),
		Labels:      map[string]string{kindLabel: kindJob},
		Image:       j.Image,
		Runtime:     containers.RuntimeInfo{Name: runtimeName},
		SnapshotKey: jobSnapshot(j),
		Snapshotter: snapshotter,
	}
	if c.Spec, err = typeurl.MarshalAny(spec); err != nil {
		return fmt.Errorf("cannot encode the job's specification: %w", err)
	}
	if _, err := e.client.ContainerService().Create(ctx, c); err != nil {
		return fmt.Errorf("cannot create the job's container: %w", err)
	}
	return e.prepareRoot(ctx, jobSnapshot(j), image.root)
}

func (e *Engine) jobSpec(j engine.Job, image imageInfo, sandbox Sandbox) (*specs.Spec, error) {
	size, err := platform.SizeByName(platform.DefaultSize)
	if err != nil {
		return nil, err
	}
	rec := record{
		Workload: platform.Workload{AppName: "job", Type: j.ID},
		Instance: platform.Instance{ID: jobID(j), Number: 1, OutsideAddr: sandbox.OutsideAddr},
	}
	mounts, err := e.writeFiles(rec)
	if err != nil {
		return nil, err
	}
	for _, m := range j.Mounts {
		mounts = append(mounts, bind(m.Source, m.Target, m.ReadOnly))
	}
	p := plan{
		args: j.Args, dir: j.Dir, env: map[string]string{}, user: image.user, cgroup: e.jobCgroup(j),
		hostname: platform.Hostname("job", j.ID, 1), netns: sandbox.NetnsPath, mounts: mounts,
		memory: size.Memory, pids: size.PIDs, weight: size.Weight, nofile: size.NoFile,
	}
	if p.dir == "" {
		p.dir = "/app"
	}
	if j.Memory > 0 {
		p.memory = j.Memory
	}
	if j.PIDs > 0 {
		p.pids = j.PIDs
	}
	for _, pair := range image.env {
		name, value, _ := strings.Cut(pair, "=")
		p.env[name] = value
	}
	maps.Copy(p.env, j.Env)
	return e.host.spec(p), nil
}

// awaitJob waits for the end of a job's process, and brings it about when
// ctx ends.
func (e *Engine) awaitJob(ctx context.Context, j engine.Job) (int, error) {
	for {
		end, err := e.waitTask(ctx, jobID(j))
		switch {
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case err != nil: // containerd was restarted; the process goes on
			if !pause(ctx, callTime/600) {
				return 0, context.Cause(ctx)
			}
		case end.Lost:
			return 0, errors.New("the job was ended from outside of the platform")
		default:
			return end.Code, nil
		}
	}
}

// removeJob removes all of a job, killing it when it runs. Its output is
// complete when this returns.
func (e *Engine) removeJob(ctx context.Context, j engine.Job, task client.Task) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if task != nil {
		if err := drainOutput(ctx, task); err != nil {
			e.log.Warn("a job's output may be cut off", "job", j.ID, "error", err)
		}
	}
	if err := e.removeContainer(ctx, jobID(j), jobSnapshot(j)); err != nil {
		return fmt.Errorf("cannot remove job %s: %w", j.ID, err)
	}
	if j.Outside {
		if err := e.cfg.Network.Teardown(ctx, j.ID); err != nil {
			return fmt.Errorf("cannot remove the network of job %s: %w", j.ID, err)
		}
	}
	return e.removeFiles(jobID(j))
}

// drainOutput ends a job's process, when it still runs, and waits until all
// of its output is read: deleting the task closes the pipes whatever is in
// them.
func drainOutput(ctx context.Context, task client.Task) error {
	if err := task.Kill(ctx, syscall.SIGKILL); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	read := make(chan struct{})
	go func() {
		task.IO().Wait()
		close(read)
	}()
	select {
	case <-read:
	case <-time.After(outputTime):
		return fmt.Errorf("it did not end within %v of the job", outputTime)
	}
	_, err := task.Delete(ctx, client.WithProcessKill)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// outputTime is how long the rest of a job's output may take to arrive.
const outputTime = 20 * time.Second

// lockedWriter lets the copiers of stdout and stderr take turns. An output
// that fails must not stop the job: its pipes have to be emptied.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(p)
	return len(p), nil
}
