package cli

import (
	"github.com/spf13/cobra"
)

func (t *tool) deploymentFollowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "follow [ID]",
		Short: "Follow a deployment until it is over",
		Long: `Show the output of a deployment from its beginning and go on until it is over,
without ID for the newest one. Output and exit code are those of ` + "`atoll deploy`" + `.

` + appHelp,
		Example: `  atoll deployments follow
  atoll deployments follow 6f2c0f9e-8d7b-4b53-9d0b-1f9a0c7d2a11 -a shop-gateway`,
		Args: arguments("[ID]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := t.app(cmd, ".")
			if err != nil {
				return err
			}
			c, err := t.client(cmd)
			if err != nil {
				return err
			}
			app, err := c.App(cmd.Context(), name)
			if err != nil {
				return err
			}
			deployment, err := t.chosenDeployment(cmd, c, app.Name, args)
			if err != nil {
				return err
			}
			return t.follow(cmd, c, app, deployment)
		},
	}
	t.addApp(cmd)
	addJSON(cmd)
	return cmd
}
