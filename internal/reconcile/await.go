package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/atollhq/atoll/internal/discovery"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// NotReady is why a workload did not get ready, in words for the user.
type NotReady struct {
	// Timeout: it runs but was not ready in time; otherwise it ended or
	// could not be started.
	Timeout bool
	Message string
}

func (e *NotReady) Error() string { return e.Message }

// startLimit bounds the time until a process runs at all: creating
// containers is the machine's work and not counted as the app's boot time.
const startLimit = 5 * time.Minute

// Await returns when every container of the workloads is ready, and with a
// *NotReady as soon as that cannot be expected any more: one of them ended,
// could not be created, or had platform.BootTimeout since its start.
func (r *Reconciler) Await(ctx context.Context, rows []store.Workload) error {
	began := time.Now()
	for {
		instances, changed := r.Roster.Snapshot()
		waiting, next, err := check(instances, rows, began, time.Now())
		if err != nil || waiting == 0 {
			return err
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

// check counts the containers still to come and says when the next of them
// will be late.
func check(instances []platform.Instance, rows []store.Workload, began, now time.Time) (waiting int, next time.Time, err error) {
	byKey := map[string]platform.Instance{}
	for _, i := range instances {
		if i.State == platform.InstanceDraining || i.State == platform.InstanceStopping {
			continue // it had that number before, and is on its way out
		}
		byKey[key(i.WorkloadID, i.Number)] = i
	}
	next = began.Add(startLimit)
	for _, row := range rows {
		for _, n := range row.Numbers {
			inst, known := byKey[key(row.ID, n)]
			deadline := began.Add(startLimit)
			if known && !inst.StartedAt.IsZero() {
				deadline = inst.StartedAt.Add(platform.BootTimeout)
			}
			switch {
			case known && inst.State == platform.InstanceFailed:
				return 0, next, &NotReady{Message: fmt.Sprintf("%s could not be started: %s", inst.Label(), inst.Reason)}
			case known && inst.LastExit != nil:
				return 0, next, &NotReady{Message: crashMessage(inst)}
			case known && inst.State == platform.InstanceRunning && inst.Observation.Ready:
				continue
			case !now.Before(deadline):
				return 0, next, &NotReady{Timeout: true, Message: lateMessage(row, n, inst, known)}
			}
			waiting++
			if deadline.Before(next) {
				next = deadline
			}
		}
	}
	return waiting, next, nil
}

func key(workloadID string, number int) string { return fmt.Sprintf("%s/%d", workloadID, number) }

func crashMessage(inst platform.Instance) string {
	why := ""
	if inst.LastExit.OOM {
		why = fmt.Sprintf(" because it used more than the memory of size %s; use a larger size", inst.Size)
	}
	return fmt.Sprintf("%s ended with code %d%s; its logs say more", inst.Label(), inst.LastExit.Code, why)
}

func lateMessage(row store.Workload, n int, inst platform.Instance, known bool) string {
	label := platform.ContainerLabel(row.Type, n)
	if known && inst.State == platform.InstanceStarting && inst.Reason != "" {
		return fmt.Sprintf("%s did not start within %v: %s", label, startLimit, inst.Reason)
	}
	if !known || inst.StartedAt.IsZero() {
		return fmt.Sprintf("%s did not start within %v: the machine is overloaded", label, startLimit)
	}
	return fmt.Sprintf("%s was not ready within %v: %s", label, platform.BootTimeout, discovery.Explain(inst))
}
