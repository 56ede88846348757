package cli

import (
	"io"

	"github.com/spf13/cobra"
)

func (t *tool) deploymentLogsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs [ID]",
		Short: "Show the output of a deployment",
		Long:  "Show the output of a deployment, without ID of the newest one.\n\n" + appHelp,
		Example: `  atoll deployments logs
  atoll deployments logs 6f2c0f9e-8d7b-4b53-9d0b-1f9a0c7d2a11 -a shop-gateway`,
		Args: arguments("[ID]"),
		RunE: t.deploymentLogs,
	}
	t.addApp(cmd)
	addJSON(cmd)
	return cmd
}

func (t *tool) deploymentLogs(cmd *cobra.Command, args []string) error {
	app, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	deployment, err := t.chosenDeployment(cmd, c, app, args)
	if err != nil {
		return err
	}
	output, err := c.DeploymentOutput(cmd.Context(), deployment)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), map[string]any{"deployment": deployment, "output": output})
	}
	if output == "" {
		note(cmd, "The deployment %s (%s) has no output.", deployment.ID, deployment.Status)
	}
	_, err = io.WriteString(cmd.OutOrStdout(), output)
	return err
}
