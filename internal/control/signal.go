package control

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
)

// signals are what users may send (CL-13). All others are the platform's
// business, or would end the container behind its back.
var signals = map[string]syscall.Signal{"SIGUSR1": syscall.SIGUSR1, "SIGUSR2": syscall.SIGUSR2}

// Kill sends a signal to the first process of a container of the app.
func (c *Control) Kill(ctx context.Context, appID, containerID, signal string) error {
	sig, ok := signals[signal]
	if !ok {
		return platform.Invalid("signal", "must be SIGUSR1 or SIGUSR2 (got %q)", signal)
	}
	rows, _ := c.Roster.Snapshot()
	for _, row := range rows {
		if row.ID != containerID || row.AppID != appID {
			continue
		}
		err := c.Signal(ctx, containerID, sig)
		if errors.Is(err, engine.ErrNoInstance) {
			return platform.Conflict("%s does not run now, so it cannot get a signal", row.Label())
		}
		if err != nil {
			return fmt.Errorf("cannot send a signal to %s: %w", row.Label(), err)
		}
		return nil
	}
	return platform.NotFound("container", "the app has no such container; list its containers to see them")
}
