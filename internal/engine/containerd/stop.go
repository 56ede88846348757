package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/atollhq/atoll/internal/platform"
)

// stop takes the container out of service, ends it and removes all of it.
// exited is nil when no process runs. Every step can be repeated: after an
// error or a restart of this process it goes on where it was.
func (k *keeper) stop(ctx context.Context, exited <-chan ending) error {
	if exited != nil {
		ended, err := k.drain(ctx, exited)
		if err == nil && ended == nil {
			_, err = k.terminate(ctx, exited)
		}
		if err != nil {
			return err
		}
		k.mu.Lock()
		k.alive = false
		k.mu.Unlock()
	} else {
		k.publish(func(i *platform.Instance) {
			if !k.done {
				i.State, i.RetryAt = platform.InstanceStopping, time.Time{}
			}
		})
	}
	return k.remove(ctx)
}

// drain reports the container as draining, and waits when somebody could be
// connected to it. It returns the end of the process if that came meanwhile.
func (k *keeper) drain(ctx context.Context, exited <-chan ending) (*ending, error) {
	if k.record().Stop == nil {
		k.publish(func(i *platform.Instance) { i.State = platform.InstanceDraining })
		until := time.Now().UTC()
		reachable, ended, err := k.reachable(ctx, exited)
		if err != nil || ended != nil {
			return ended, err
		}
		if reachable {
			until = until.Add(platform.DrainDelay)
		}
		k.mu.Lock()
		k.rec.Stop = &stopRecord{DrainUntil: until}
		k.mu.Unlock()
		k.save(ctx)
	}
	return waitUntil(ctx, k.record().Stop.DrainUntil, exited)
}

// lookTime is how long a stop waits for the observer to look once more.
const lookTime = time.Second

// reachable reports whether somebody could be connected to the container, which
// has just left the names. Looks at one that is in service but listens nowhere
// are seconds apart, and it may have begun to listen since the last: the
// observer looks again when it sees the row draining. It also returns the end
// of the process if that came meanwhile.
func (k *keeper) reachable(ctx context.Context, exited <-chan ending) (bool, *ending, error) {
	began := time.Now()
	for pause := lookTime / 100; ; pause *= 2 {
		row, _ := k.e.cfg.Sink.Get(k.id)
		switch {
		case row.Reachable():
			return true, nil, nil
		case !row.Observation.Ready || row.Observation.Leaving:
			return false, nil, nil
		case time.Since(began) >= lookTime: // then nobody knows
			return true, nil, nil
		}
		if ended, err := waitUntil(ctx, time.Now().Add(pause), exited); err != nil || ended != nil {
			return false, ended, err
		}
	}
}

// terminate sends SIGTERM and, when that was not heeded in time, SIGKILL. It
// returns the end of the process.
func (k *keeper) terminate(ctx context.Context, exited <-chan ending) (*ending, error) {
	k.publish(func(i *platform.Instance) { i.State = platform.InstanceStopping })
	if k.record().Stop.TermAt.IsZero() {
		if err := k.askToEnd(ctx); err != nil {
			return nil, err
		}
		// Most end at once, and need not be saved.
		if ended, err := waitUntil(ctx, time.Now().Add(promptEnd), exited); err != nil || ended != nil {
			return ended, err
		}
		k.save(ctx)
	}
	grace := k.record().Workload.StopGrace
	if grace <= 0 {
		grace = platform.StopGrace
	}
	ended, err := waitUntil(ctx, k.record().Stop.TermAt.Add(grace), exited)
	if err != nil || ended != nil {
		return ended, err
	}
	k.e.log.Info("container did not end after SIGTERM; killing it", "container", k.label(), "id", k.id, "grace", grace)
	// It is the first process of its PID namespace: the kernel ends all
	// others with it.
	if err := k.kill(ctx, syscall.SIGKILL); err != nil {
		return nil, err
	}
	if ended, err = waitUntil(ctx, time.Now().Add(callTime), exited); err == nil && ended == nil {
		err = fmt.Errorf("its process did not end within %v of SIGKILL", callTime)
	}
	return ended, err
}

// promptEnd is how long after SIGTERM a process ends that has nothing left to
// do.
const promptEnd = 250 * time.Millisecond

// askToEnd sends the signals that a process ends on, and notes when.
func (k *keeper) askToEnd(ctx context.Context) error {
	if err := k.kill(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	rec := k.record()
	if once := rec.Once; once != nil && once.Terminal {
		// Shells that people type into ignore SIGTERM. What ends them is
		// that their terminal hangs up.
		if err := k.kill(ctx, syscall.SIGHUP); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rec.Stop = &stopRecord{DrainUntil: rec.Stop.DrainUntil, TermAt: time.Now().UTC()}
	return nil
}

// kill signals the first process; one that ended already is no error.
func (k *keeper) kill(ctx context.Context, sig syscall.Signal) error {
	return k.inTurn(ctx, func(ctx context.Context) error {
		if err := k.e.kill(ctx, k.id, sig); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("cannot send it %v: %w", sig, err)
		}
		return nil
	})
}

// remove removes process, container, file system, sandbox and row. The row
// goes last: its addresses are taken as long as it is there.
func (k *keeper) remove(ctx context.Context) error {
	err := k.inTurn(ctx, func(ctx context.Context) error {
		rec := k.record()
		if err := k.e.removeContainer(ctx, k.id, rec.snapshotKey()); err != nil {
			return err
		}
		if err := k.e.cfg.Network.Teardown(ctx, k.id); err != nil {
			return fmt.Errorf("cannot remove its network: %w", err)
		}
		return k.e.removeFiles(k.id)
	})
	if err != nil {
		return err
	}
	k.closeOutput()
	k.e.forget(k.id) // before the row goes: who sees that may ask for Workloads
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
	k.e.cfg.Sink.Delete(k.id)
	return nil
}

// removeContainer removes a container from containerd, whatever there is of
// it.
func (e *Engine) removeContainer(ctx context.Context, id, snapshotKey string) error {
	if err := e.deleteTask(ctx, id); err != nil {
		return fmt.Errorf("cannot remove its process: %w", err)
	}
	if err := e.client.ContainerService().Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("cannot remove the container: %w", err)
	}
	if snapshotKey != "" {
		if err := e.removeRoot(ctx, snapshotKey); err != nil {
			return err
		}
	}
	// runc removes the cgroup; it stays when runc was killed in between.
	if err := e.host.removeCgroup(e.cgroup(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		e.log.Warn("cannot remove a cgroup", "id", id, "error", err)
	}
	return nil
}

// waitUntil waits for a point in time or the end of a process, and returns
// the latter if it came first.
func waitUntil(ctx context.Context, t time.Time, exited <-chan ending) (*ending, error) {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case end := <-exited:
		return &end, nil
	default:
	}
	select {
	case end := <-exited:
		return &end, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
