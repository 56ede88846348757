package cli

import (
	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func addNoWait(cmd *cobra.Command) {
	cmd.Flags().Bool("no-wait", false, "do not wait until it is done")
}

// waitFor waits for an operation unless --no-wait says not to; id "" means
// that there is nothing to wait for. doing is what goes on: "scaling".
func (t *tool) waitFor(cmd *cobra.Command, c *client.Client, app, id, doing string) error {
	noWait, err := cmd.Flags().GetBool("no-wait")
	if err != nil {
		return err
	}
	if id == "" {
		return nil
	}
	if noWait {
		note(cmd, "%s is %s; `atoll ps%s` shows how far it is.", app, doing, t.appOption(cmd, app))
		return nil
	}
	note(cmd, "%s is %s ...", app, doing)
	operation, err := c.WaitOperation(cmd.Context(), app, id)
	if cmd.Context().Err() != nil {
		return fail(ExitInterrupted, "It goes on without you; `atoll ps"+t.appOption(cmd, app)+"` shows how far it is.", "stopped waiting while %s is %s", app, doing)
	}
	if err != nil {
		return err
	}
	if operation.Status == "error" {
		reason := operation.Error
		if reason == "" {
			reason = "the server gives no reason"
		}
		return fail(ExitFailure, "`atoll logs -n 100"+t.appOption(cmd, app)+"` and `atoll ps"+t.appOption(cmd, app)+"` may show why.", "%s failed: %s", doing, reason)
	}
	return nil
}
