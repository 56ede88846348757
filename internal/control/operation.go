package control

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/reconcile"
	"github.com/atollhq/atoll/internal/store"
)

// step is a change of what runs that takes a while.
type step struct {
	// adjusted rows got other numbers or are new and in service at once; added
	// are those of them that have new containers, with these numbers only;
	// dropped are the ids of rows that are gone.
	adjusted []store.Workload
	added    []store.Workload
	dropped  []string
	// fresh rows take the place of the retired ones once all are ready.
	fresh   []store.Workload
	retired []retirement
}

// retirement is a row that keeps only some numbers after a replacement.
type retirement struct {
	row  store.Workload
	keep []int
}

// newOperation is one that begins with the Change it is committed with.
func newOperation(appID, kind string) *platform.Operation {
	return &platform.Operation{ID: platform.NewID(), AppID: appID, Type: kind, Status: platform.OperationRunning}
}

// run carries out a step in the background and ends its operation.
func (c *Control) run(user platform.User, appID string, op platform.Operation, s step) {
	c.wg.Go(func() {
		err := c.carryOut(c.ctx, appID, s)
		ch := c.conclude(s, err)
		op.Status = platform.OperationDone
		if err != nil {
			op.Status, op.Error = platform.OperationError, c.userText(appID, err)
		}
		ch.Operation, ch.User = &op, user
		// The server may be stopping; the end is noted anyway.
		ctx := context.WithoutCancel(c.ctx)
		if err := c.finish(ctx, appID, ch); err != nil {
			c.Log.Error("Cannot finish an operation; the next start does", "app", appID, "operation", op.ID, "error", err)
		}
	})
}

// carryOut tells the engine and waits until everything new is ready. What was
// there before is not looked at: a crash of last week is no failure of this
// step.
func (c *Control) carryOut(ctx context.Context, appID string, s step) error {
	if err := c.Reconciler.Apply(ctx, appID); err != nil {
		return err
	}
	if err := c.Reconciler.Remove(ctx, s.dropped...); err != nil {
		return err
	}
	return c.Reconciler.Await(ctx, slices.Concat(s.added, s.fresh))
}

// conclude is the change that ends a step: the switch to the fresh rows, or
// their end when they did not get ready. What was adjusted stays wished for
// in either case: the engine goes on trying.
func (c *Control) conclude(s step, err error) *store.Change {
	ch := &store.Change{}
	if err != nil {
		for _, w := range s.fresh {
			ch.Drop = append(ch.Drop, w.ID)
		}
		return ch
	}
	for _, w := range s.fresh {
		w.Active = true
		ch.Put = append(ch.Put, w)
	}
	for _, r := range s.retired {
		if len(r.keep) == 0 {
			ch.Drop = append(ch.Drop, r.row.ID)
			continue
		}
		r.row.Numbers = r.keep
		ch.Put = append(ch.Put, r.row)
	}
	return ch
}

// finish commits the end of an operation and tells the engine: first what is
// in service now, then what is not any more.
func (c *Control) finish(ctx context.Context, appID string, ch *store.Change) error {
	rows, err := c.Store.Workloads(ctx, appID)
	if err != nil {
		return err
	}
	ch.Status = restingStatus(append(rows, ch.Put...))
	if err := c.Store.Commit(ctx, appID, ch); err != nil {
		return err
	}
	return c.Reconciler.Replace(ctx, appID, ch.Drop...)
}

func (c *Control) userText(appID string, err error) string {
	var late *reconcile.NotReady
	if errors.As(err, &late) || errors.Is(err, errInterrupted) {
		return err.Error()
	}
	c.Log.Error("An operation failed by a fault of the machine", "app", appID, "error", err)
	return fmt.Sprintf("an internal error; the operator finds it in the server's log under app %s", appID)
}
