package cli

import (
	"github.com/spf13/cobra"
)

func (t *tool) restartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restart [TYPE|CONTAINER]...",
		Short: "Replace containers by new ones",
		Long: `Replace containers by new ones and wait until these run. Without arguments all
containers of the app are replaced; else those of the named process types
("web") and the named containers ("web-1"). New containers are ready before the
old ones stop.

` + appHelp,
		Example: `  atoll restart
  atoll restart web
  atoll restart web-1 worker-2 -a shop-gateway
  atoll restart --no-wait`,
		Args: arguments("[TYPE]..."),
		RunE: t.restart,
	}
	t.addApp(cmd)
	addNoWait(cmd)
	t.completeArgs(cmd, 0, t.scopes)
	return cmd
}

func (t *tool) restart(cmd *cobra.Command, scope []string) error {
	app, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	operation, err := c.RestartApp(cmd.Context(), app, scope)
	if err != nil {
		return t.withKnownTypes(cmd, c, app, err)
	}
	if err := t.waitFor(cmd, c, app, operation, "restarting"); err != nil {
		return err
	}
	if noWait, err := cmd.Flags().GetBool("no-wait"); err != nil || noWait {
		return err
	}
	note(cmd, "Restarted.")
	return nil
}
