package containerd

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
)

var _ engine.OneOffs = (*Engine)(nil)

// onceRecord is what the record of a container that runs once has beside.
type onceRecord struct {
	Mounts []engine.Mount
	// Attached: its streams are connected to the process that started it.
	Attached bool
	Terminal bool
	Width    int
	Height   int
}

// Start implements engine.OneOffs.
func (e *Engine) Start(_ context.Context, o engine.OneOff) error {
	if err := checkOneOff(o); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed
	}
	w := o.Workload
	if e.keepers[w.ID] != nil {
		return engine.ErrExists
	}
	rec := newRecord(w, w.Numbers[0], e.cfg.Node, time.Now())
	rec.Instance.ID = w.ID
	rec.Once = &onceRecord{Mounts: o.Mounts}
	if a := o.Attached; a != nil {
		rec.Once.Attached, rec.Once.Terminal, rec.Once.Width, rec.Once.Height = true, a.Terminal, a.Width, a.Height
	}
	k := newKeeper(e, rec)
	k.attachment = o.Attached
	e.add(k)
	return nil
}

// Stop implements engine.OneOffs.
func (e *Engine) Stop(_ context.Context, workloadID string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed
	}
	for _, k := range e.keepersOf(workloadID) {
		if k.rec.Once == nil {
			return fmt.Errorf("workload %s is to be held, not run once: remove it", workloadID)
		}
		k.askEnd()
	}
	return nil
}

// Resize implements engine.OneOffs.
func (e *Engine) Resize(ctx context.Context, instanceID string, width, height int) error {
	if width < 1 || height < 1 || width > 1<<15 || height > 1<<15 {
		return fmt.Errorf("%d times %d is no size of a terminal", width, height)
	}
	e.mu.Lock()
	k := e.keepers[instanceID]
	e.mu.Unlock()
	if k == nil || !k.runs() || k.rec.Once == nil || !k.rec.Once.Terminal {
		return engine.ErrNoInstance
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	task, err := e.task(ctx, instanceID)
	if err == nil {
		err = task.Resize(ctx, uint32(width), uint32(height))
	}
	if errdefs.IsNotFound(err) {
		return engine.ErrNoInstance
	}
	if err != nil {
		return fmt.Errorf("cannot resize the terminal: %w", err)
	}
	return nil
}

// Private

func checkOneOff(o engine.OneOff) error {
	if err := checkWorkload(o.Workload); err != nil {
		return err
	}
	if n := len(o.Workload.Numbers); n != 1 {
		return fmt.Errorf("workload %s has %d numbers; what runs once has one", o.Workload.ID, n)
	}
	for _, m := range o.Mounts {
		if !filepath.IsAbs(m.Source) || !filepath.IsAbs(m.Target) {
			return fmt.Errorf("workload %s: the paths of mount %q on %q must be absolute", o.Workload.ID, m.Source, m.Target)
		}
	}
	if o.Attached != nil && o.Attached.Output == nil {
		return fmt.Errorf("workload %s is attached to no output", o.Workload.ID)
	}
	return nil
}

// streams connects a process: to the log, or to whoever is attached.
func (k *keeper) streams() cio.Creator {
	row := k.row()
	a := k.attachment
	if a == nil {
		return k.e.logTo(row.AppID, row.Label())
	}
	output := &lockedWriter{w: a.Output}
	options := []cio.Opt{cio.WithStreams(nil, output, output), cio.WithFIFODir(filepath.Join(k.e.cfg.RunDir, "fifo"))}
	if a.Input != nil {
		options[0] = cio.WithStreams(&input{keeper: k}, output, output)
	}
	if a.Terminal {
		options = append(options, cio.WithTerminal)
	}
	return cio.NewCreator(options...)
}

// input is what an attached process reads. The shim holds its standard input
// open, so its end has to be told.
type input struct{ keeper *keeper }

func (i *input) Read(p []byte) (int, error) {
	n, err := i.keeper.attachment.Input.Read(p)
	if err == nil || i.keeper.attachment.Terminal {
		return n, err
	}
	k := i.keeper
	k.e.work.Go(func() {
		// The task that is being started is the one meant.
		for k.e.ctx.Err() == nil && !k.over() {
			if k.runs() {
				err := k.closeInput(k.e.ctx)
				if err == nil || errdefs.IsNotFound(err) {
					return
				}
				k.e.log.Warn("cannot end the input of a container; trying again", "container", k.label(), "error", err)
			}
			pause(k.e.ctx, 20*time.Millisecond)
		}
	})
	return n, err
}

func (k *keeper) closeInput(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	task, err := k.e.task(ctx, k.id)
	if err != nil {
		return err
	}
	return task.CloseIO(ctx, client.WithStdinCloser)
}

// end brings about the end of a container that runs once. exited is nil when
// no process runs.
func (k *keeper) end(ctx context.Context, exited <-chan ending) error {
	if exited == nil {
		k.conclude(ctx, ending{Exit: platform.Exit{Code: 143, At: time.Now().UTC()}}, "it was stopped before it started")
		return nil
	}
	ended, err := k.drain(ctx, exited)
	if err == nil && ended == nil {
		ended, err = k.terminate(ctx, exited)
	}
	if err != nil {
		return err
	}
	reason := ""
	if !k.record().Stop.TermAt.IsZero() {
		reason = "it was stopped"
	}
	k.conclude(ctx, *ended, reason)
	return nil
}

// conclude notes how a container that runs once ended. The note is safe
// before anything of the container goes away.
func (k *keeper) conclude(ctx context.Context, end ending, reason string) {
	k.mu.Lock()
	k.alive, k.done = false, true
	row := &k.rec.Instance
	exit := end.Exit
	row.State, row.LastExit, row.RetryAt = platform.InstanceEnded, &exit, time.Time{}
	row.Reason = reason
	if reason == "" && (end.OOM || end.Lost) {
		row.Reason = end.describe(k.rec.Workload.Size)
	}
	k.mu.Unlock()
	k.save(ctx)
	k.e.log.Info("container ran once and ended", "container", k.label(), "id", k.id, "code", end.Code, "oom", end.OOM, "reason", reason)
}

// release gives back what a container that has ended does not need any more,
// and then reports its end.
func (k *keeper) release(ctx context.Context) error {
	if k.output != nil {
		if err := k.awaitOutput(ctx); err != nil {
			k.e.log.Warn("the output of a container may be cut off", "container", k.label(), "id", k.id, "error", err)
		}
	}
	err := k.inTurn(ctx, func(ctx context.Context) error {
		if err := k.e.deleteTask(ctx, k.id); err != nil {
			return fmt.Errorf("cannot remove its process: %w", err)
		}
		k.closeOutput()
		if err := k.e.cfg.Network.Teardown(ctx, k.id); err != nil {
			return fmt.Errorf("cannot remove its network: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	k.released = true
	k.publish(disconnect)
	k.save(ctx)
	return nil
}

// awaitOutput waits until whoever is attached has all of the output.
func (k *keeper) awaitOutput(ctx context.Context) error {
	read := make(chan struct{})
	go func() {
		k.output.Wait()
		close(read)
	}()
	timer := time.NewTimer(outputTime)
	defer timer.Stop()
	select {
	case <-read:
		return nil
	case <-timer.C:
		return fmt.Errorf("it was not read within %v", outputTime)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// closeOutput closes the pipes from an attached container.
func (k *keeper) closeOutput() {
	if k.output == nil {
		return
	}
	k.output.Cancel()
	if err := k.output.Close(); err != nil {
		k.e.log.Debug("cannot close the pipes of a container", "container", k.label(), "error", err)
	}
	k.output = nil
}

// rest is the life of a container that ran once, from its end to its removal.
func (k *keeper) rest(ctx context.Context) {
	if !k.released {
		if err := k.release(ctx); err != nil && ctx.Err() == nil {
			k.e.log.Error("cannot clear up after a container; trying again", "container", k.label(), "id", k.id, "error", err)
			pause(ctx, 2*time.Second)
		}
		return
	}
	select {
	case <-k.stopC:
	case <-k.saveC:
		k.save(ctx)
	case <-ctx.Done():
	}
}

// adoptOnce brings the keeper of a container that runs once into the state
// that the container is in. A process that is not there is one that ran: the
// machine was restarted, or its start was cut off. It is not run again.
func (e *Engine) adoptOnce(k *keeper, p foundProcess) <-chan ending {
	row := &k.rec.Instance
	if row.State == platform.InstanceEnded || row.State == platform.InstanceFailed {
		k.done = true
		return nil
	}
	exited := make(chan ending, 1)
	switch {
	case p.running:
		k.alive = true
		row.State = platform.InstanceRunning
		if k.rec.Stop != nil {
			row.State = platform.InstanceDraining
			if !k.rec.Stop.TermAt.IsZero() {
				row.State = platform.InstanceStopping
			}
		}
		if k.rec.Stop != nil || k.rec.Once.Attached {
			k.askEnd()
		}
		return e.await(e.ctx, k.id)
	case p.stopped:
		exited <- e.ended(k.id, p.code, p.at)
	default:
		exited <- ending{Exit: platform.Exit{Code: 137, At: time.Now().UTC()}, Lost: true}
	}
	return exited
}
