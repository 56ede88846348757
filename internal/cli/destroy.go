package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (t *tool) destroyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "destroy NAME",
		Short: "Stop and delete an app",
		Long: `Stop and delete an app with its containers, variables, deployments and logs.
This cannot be undone. The name must be given, and typed once more as a
confirmation; --yes leaves that out, for scripts.`,
		Example: `  atoll destroy shop-gateway
  atoll destroy shop-gateway --yes`,
		Args: arguments("NAME"),
		RunE: t.destroy,
	}
	cmd.Flags().Bool("yes", false, "do not ask for a confirmation")
	t.completeArgs(cmd, 1, t.appNames)
	return cmd
}

func (t *tool) destroy(cmd *cobra.Command, args []string) error {
	yes, err := cmd.Flags().GetBool("yes")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	app, err := c.App(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	if !yes {
		question := fmt.Sprintf("This deletes the app %s and all that belongs to it, for good.\nType its name to go on: ", app.Name)
		typed, err := t.ask(cmd, question, usage("there is no terminal to confirm on: add --yes to destroy %s without a question", app.Name))
		if err != nil {
			return err
		}
		if typed != app.Name {
			return fail(ExitFailure, "", "%q is not %q; nothing was destroyed", typed, app.Name)
		}
	}
	if err := c.DestroyApp(cmd.Context(), app.Name); err != nil {
		return err
	}
	note(cmd, "Destroyed the app %s.", app.Name)
	if path, linked, err := findLink("."); err == nil && linked == app.Name {
		note(cmd, "The file %s still names it; remove it or write another name into it.", path)
	}
	return nil
}
