package containerd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
)

// stableTime is how long a process must have run for its crash to count as
// the first one again (CL-21).
const stableTime = 10 * time.Minute

// keeper drives the life of one instance, from the wish to its removal.
type keeper struct {
	e  *Engine
	id string

	stopC  chan struct{} // closed when the container is to go
	endC   chan struct{} // closed when a container that runs once is to end
	saveC  chan struct{} // the record changed and has to be saved
	groupC chan struct{} // the network has to be told the group

	mu     sync.Mutex
	rec    record
	group  uint32 // the wish; that of rec is what the network knows
	gone   bool
	alive  bool // a process runs
	asked  bool // stopC is closed
	stored bool // containerd has the container

	ending bool // endC is closed
	done   bool // it was to run once, and that is over

	// Only the keeper's goroutine uses what follows.
	failures int // of starts in a row
	// attachment is where a container that runs once is attached to, output
	// the pipes from it; released is set when it has ended and gave back its
	// network and process.
	attachment *engine.Attachment
	output     cio.IO
	released   bool
}

func newKeeper(e *Engine, r record) *keeper {
	return &keeper{e: e, id: r.Instance.ID, rec: r, group: r.Workload.Group,
		stopC: make(chan struct{}), endC: make(chan struct{}), saveC: make(chan struct{}, 1), groupC: make(chan struct{}, 1)}
}

// run is the keeper's life. exited yields the end of the process that runs
// already, nil when none does. It returns when the container is removed, or
// with ctx, leaving it alone.
func (k *keeper) run(ctx context.Context, exited <-chan ending) {
	for ctx.Err() == nil {
		switch {
		case k.stopAsked():
			err := k.stop(ctx, exited)
			if err == nil {
				return
			}
			exited = k.again(ctx, err)
		case k.over():
			exited = nil
			k.rest(ctx)
		case k.endAsked():
			if err := k.end(ctx, exited); err != nil {
				exited = k.again(ctx, err)
			}
		case exited == nil:
			if k.awaitRetry(ctx) {
				exited = k.start(ctx)
			}
		default:
			exited = k.watch(ctx, exited)
		}
	}
	k.closeOutput()
	select {
	case <-k.saveC: // asked for just before Close
		k.save(ctx)
	default:
	}
}

// again pauses after a failed step of a stop, and looks anew at the process.
func (k *keeper) again(ctx context.Context, err error) <-chan ending {
	if ctx.Err() != nil {
		return nil
	}
	k.e.log.Error("cannot stop or remove a container; trying again", "container", k.label(), "id", k.id, "error", err)
	pause(ctx, 2*time.Second)
	if !k.runs() {
		return nil
	}
	return k.e.await(ctx, k.id)
}

// saveTime bounds a save. It goes on after the end of its context: Close
// waits for it.
const saveTime = 10 * time.Second

// watch waits while the process runs. It returns nil when it has ended.
func (k *keeper) watch(ctx context.Context, exited <-chan ending) <-chan ending {
	select {
	case end := <-exited:
		k.noteEnd(ctx, end)
		return nil
	case <-k.saveC:
		return k.saveRunning(ctx, exited)
	case <-k.groupC:
		k.regroup(ctx)
	case <-k.stopC:
	case <-k.endC:
	case <-ctx.Done():
	}
	return exited
}

// saveRunning saves the record while the process runs. Its turn can be seconds
// off, when hundreds of containers are switched at once: an end that comes
// meanwhile is published without it, for clients are sent there until then, and
// so is a stop. Both save the record themselves.
func (k *keeper) saveRunning(ctx context.Context, exited <-chan ending) <-chan ending {
	turn := k.e.ends.ask(k.appID())
	select {
	case <-turn.come:
		k.write(ctx)
		turn.leave()
	case end := <-exited:
		turn.leave()
		k.noteEnd(ctx, end)
		return nil
	case <-k.stopC:
		turn.leave()
	case <-ctx.Done(): // Close waits for this, but not for a line
		turn.leave()
		k.write(ctx)
	}
	return exited
}

// noteEnd records that the process ended.
func (k *keeper) noteEnd(ctx context.Context, end ending) {
	if k.once() {
		k.conclude(ctx, end, "")
	} else {
		k.crashed(ctx, end)
	}
}

// awaitRetry waits until the next start is due and reports whether it is.
func (k *keeper) awaitRetry(ctx context.Context) bool {
	timer := time.NewTimer(time.Until(k.row().RetryAt))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-k.saveC:
			k.save(ctx)
		case <-k.stopC:
			return false
		case <-k.endC:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// crashed records that the process ended unasked and when it starts again.
func (k *keeper) crashed(ctx context.Context, end ending) {
	row := k.row()
	if row.LastExit == nil || !row.LastExit.At.Equal(end.At) { // else it was counted before a restart of ours
		k.mu.Lock()
		k.alive = false
		if end.At.Sub(row.StartedAt) >= stableTime {
			k.rec.Streak = 0
		}
		k.rec.Streak++
		delay := withJitter(engine.RestartDelay(k.rec.Streak))
		k.mu.Unlock()
		k.publish(func(i *platform.Instance) {
			i.State, i.Reason = platform.InstanceCrashed, end.describe(k.rec.Workload.Size)
			i.Restarts++
			exit := end.Exit
			i.LastExit = &exit
			i.StartedAt = time.Time{}
			i.RetryAt = time.Now().Add(delay).UTC()
		})
		k.e.log.Info("container ended", "container", k.label(), "id", k.id, "code", end.Code, "oom", end.OOM, "restart in", delay)
		k.save(ctx)
	}
	// The next start deletes the task as well; doing it now frees its shim.
	if err := k.inTurn(ctx, func(ctx context.Context) error { return k.e.deleteTask(ctx, k.id) }); err != nil && ctx.Err() == nil {
		k.e.log.Warn("cannot remove the rest of an ended process", "container", k.label(), "id", k.id, "error", err)
	}
}

// failed records that the container could not be started. One that runs once
// is not tried again: nobody knows how far it came.
func (k *keeper) failed(err error) {
	if delay, later := k.e.roomIn(err, k.record().request()); later {
		k.wait(err, delay)
		return
	}
	if k.once() {
		k.mu.Lock()
		k.done = true
		k.mu.Unlock()
		k.publish(func(i *platform.Instance) {
			i.State, i.Reason, i.StartedAt, i.RetryAt = platform.InstanceFailed, err.Error(), time.Time{}, time.Time{}
		})
		k.e.log.Error("cannot start a container that was to run once", "container", k.label(), "id", k.id, "error", err)
		return
	}
	k.failures++
	delay := withJitter(engine.RestartDelay(k.failures + 1))
	k.publish(func(i *platform.Instance) {
		i.State, i.Reason = platform.InstanceFailed, err.Error()
		i.StartedAt = time.Time{}
		i.RetryAt = time.Now().Add(delay).UTC()
	})
	k.e.log.Error("cannot start a container", "container", k.label(), "id", k.id, "error", err, "retry in", delay)
}

// wait records that the container starts when there is room. Nothing was made
// for it yet.
func (k *keeper) wait(err error, delay time.Duration) {
	k.publish(func(i *platform.Instance) {
		i.State, i.Reason, i.StartedAt = platform.InstanceStarting, err.Error(), time.Time{}
		i.RetryAt = time.Now().Add(delay).UTC()
	})
	k.e.log.Info("a container waits for room", "container", k.label(), "id", k.id, "reason", err, "retry in", delay)
}

// longestDelay is the most that a container waits for its next start.
var longestDelay = engine.RestartDelay(math.MaxInt) * 5 / 4

// withJitter adds up to a quarter, so that what ended together does not
// start together again and again.
func withJitter(d time.Duration) time.Duration {
	if d == 0 {
		return 0
	}
	return d + rand.N(d/4)
}

// publish changes the row and reports it. Nothing is reported after the row
// was deleted.
func (k *keeper) publish(change func(*platform.Instance)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return
	}
	if change != nil {
		change(&k.rec.Instance)
	}
	k.e.cfg.Sink.Put(k.rec.Instance)
}

// inTurn does one of the steps of an end when it is the turn of this
// container. The step does not ask for another turn: it might be waiting for
// itself.
func (k *keeper) inTurn(ctx context.Context, step func(context.Context) error) error {
	turn := k.e.ends.ask(k.appID())
	defer turn.leave()
	select {
	case <-turn.come:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return step(ctx)
}

// save writes the record, when there is a container yet. A failure is not
// fatal: the row is right, and what is lost by a restart is told again by
// whoever wants the workload.
func (k *keeper) save(ctx context.Context) {
	turn := k.e.ends.ask(k.appID())
	defer turn.leave()
	select {
	case <-turn.come:
	case <-ctx.Done(): // Close waits for this, but not for a line
	}
	k.write(ctx)
}

// write writes the record; it is the caller's turn.
func (k *keeper) write(ctx context.Context) {
	k.mu.Lock()
	rec, stored := k.rec, k.stored
	k.mu.Unlock()
	if !stored {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	if err := k.e.saveRecord(ctx, rec); err != nil {
		k.e.log.Warn("a container's state is not saved", "container", k.label(), "id", k.id, "error", err)
	}
}

func (k *keeper) setActive(active bool) {
	if k.row().Active == active {
		return
	}
	k.publish(func(i *platform.Instance) { i.Active = active })
	select {
	case k.saveC <- struct{}{}:
	default: // a save is due already and will see this change
	}
}

// setGroup changes the group of a container that is there already. A start
// takes the wish by itself.
func (k *keeper) setGroup(group uint32) {
	k.mu.Lock()
	changed := k.group != group
	k.group = group
	k.mu.Unlock()
	if changed {
		k.askRegroup()
	}
}

func (k *keeper) askRegroup() {
	select {
	case k.groupC <- struct{}{}:
	default: // it is due already and will see this change
	}
}

// regroupDelay is the time between attempts to tell the network a group.
const regroupDelay = 2 * time.Second

// regroup tells the network the group of a running container. The record
// follows the network, so that a kill between the two repeats the step.
func (k *keeper) regroup(ctx context.Context) {
	k.mu.Lock()
	wish := k.rec
	wish.Workload.Group = k.group
	k.mu.Unlock()
	within, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := k.e.cfg.Network.Setup(within, wish.request()); err != nil {
		if ctx.Err() == nil {
			k.e.log.Error("cannot change the group of a container; trying again", "container", k.label(), "id", k.id, "error", err)
			time.AfterFunc(regroupDelay, k.askRegroup)
		}
		return
	}
	k.takeGroup(wish.Workload.Group)
	k.save(ctx)
}

func (k *keeper) takeGroup(group uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rec.Workload.Group = group
}

// wishedGroup is the group that the container is to have.
func (k *keeper) wishedGroup() uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.group
}

func (k *keeper) askStop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.asked {
		k.asked = true
		close(k.stopC)
	}
}

func (k *keeper) stopAsked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}

func (k *keeper) askEnd() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.ending {
		k.ending = true
		close(k.endC)
	}
}

func (k *keeper) endAsked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ending
}

// once reports whether it is a container that runs once.
func (k *keeper) once() bool { return k.record().Once != nil }

// over reports whether it is one that has run.
func (k *keeper) over() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.done
}

func (k *keeper) runs() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.alive
}

func (k *keeper) row() platform.Instance {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rec.Instance
}

func (k *keeper) record() record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rec
}

func (k *keeper) number() int        { return k.row().Number }
func (k *keeper) workloadID() string { return k.row().WorkloadID }
func (k *keeper) appID() string      { return k.record().Workload.AppID }
func (k *keeper) label() string      { r := k.row(); return r.AppName + " " + r.Label() }

// ending is how a process ended.
type ending struct {
	platform.Exit
	// Lost: nobody saw it end, its code is not known.
	Lost bool
}

func (x ending) describe(size platform.Size) string {
	switch {
	case x.OOM:
		return fmt.Sprintf("it used more memory than size %s has (%d MiB) and was ended; use a larger size or less memory", size.Name, size.Memory>>20)
	case x.Lost:
		return "it was ended from outside of the platform"
	case x.Code > 128 && x.Code < 128+65:
		return fmt.Sprintf("its process was ended by signal %d (code %d)", x.Code-128, x.Code)
	default:
		return fmt.Sprintf("its process ended with code %d", x.Code)
	}
}

// await yields the end of the process of a container, once, whatever happens
// to containerd in between. Nothing comes after ctx has ended.
func (e *Engine) await(ctx context.Context, id string) <-chan ending {
	exited := make(chan ending, 1)
	e.work.Go(func() {
		for {
			end, err := e.waitTask(ctx, id)
			if err == nil {
				exited <- end
				return
			}
			if ctx.Err() == nil {
				e.log.Debug("lost sight of a process; looking again", "id", id, "error", err)
			}
			if !pause(ctx, 100*time.Millisecond) {
				return
			}
		}
	})
	return exited
}

// waitTask waits for the end of a process. An error says nothing about the
// process: containerd was restarted, or ctx has ended.
func (e *Engine) waitTask(ctx context.Context, id string) (ending, error) {
	task, err := e.task(ctx, id)
	if errdefs.IsNotFound(err) {
		return ending{Exit: platform.Exit{Code: 137, At: time.Now().UTC()}, Lost: true}, nil
	}
	if err != nil {
		return ending{}, err
	}
	wait, err := task.Wait(ctx)
	if err != nil {
		return ending{}, err
	}
	st := <-wait
	if err := st.Error(); err != nil {
		return ending{}, err
	}
	return e.ended(id, st.ExitCode(), st.ExitTime()), nil
}

// ended tells how a process ended while its cgroup is still there.
func (e *Engine) ended(id string, code uint32, at time.Time) ending {
	oom, err := e.host.oomKills(e.cgroup(id))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.log.Warn("cannot tell whether a container ran out of memory", "id", id, "error", err)
	}
	// A process that saw one of its children die for memory and went on to
	// end well did not end for memory.
	return ending{Exit: platform.Exit{Code: int(code), At: at.UTC(), OOM: oom > 0 && code != 0}}
}
