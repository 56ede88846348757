package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) deploymentsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deployments",
		Short: "List the deployments of an app",
		Long: `List the deployments of an app, newest first. Subcommands show the output of one
and follow one that runs.

` + appHelp,
		Example: `  atoll deployments
  atoll deployments --page 2 --per-page 50
  atoll deployments logs
  atoll deployments follow`,
		Args: arguments(),
		RunE: t.deployments,
	}
	t.addApp(cmd)
	addPages(cmd, 20)
	addJSON(cmd)
	cmd.AddCommand(t.deploymentLogsCommand(), t.deploymentFollowCommand())
	return cmd
}

func (t *tool) deployments(cmd *cobra.Command, _ []string) error {
	page, err := pageFlags(cmd)
	if err != nil {
		return err
	}
	app, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	deployments, meta, err := c.Deployments(cmd.Context(), app, page)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), list(deployments))
	}
	colours := t.colours(cmd.OutOrStdout())
	out := table{head: []string{"ID", "STATUS", "REF", "BY", "STARTED", "TOOK", "IMAGE"}, paint: map[int]func(string) string{1: colours.status}}
	for _, d := range deployments {
		took, size := "-", "-"
		if d.Final() {
			took = fmt.Sprintf("%d s", d.Duration)
		}
		if d.ImageSize > 0 {
			size = bytesText(d.ImageSize)
		}
		ref := d.GitRef
		if ref == "" {
			ref = "-"
		}
		out.add(d.ID, d.Status, ref, d.Pusher.Username, when(d.CreatedAt), took, size)
	}
	if err := out.print(cmd.OutOrStdout()); err != nil {
		return err
	}
	notePages(cmd, meta)
	return nil
}

// chosenDeployment is the one named by args, else the newest.
func (t *tool) chosenDeployment(cmd *cobra.Command, c *client.Client, app string, args []string) (client.Deployment, error) {
	if len(args) > 0 {
		return c.Deployment(cmd.Context(), app, args[0])
	}
	deployments, _, err := c.Deployments(cmd.Context(), app, client.Page{Number: 1, Size: 1})
	if err != nil {
		return client.Deployment{}, err
	}
	if len(deployments) == 0 {
		return client.Deployment{}, fail(ExitNotFound, "`atoll deploy"+t.appOption(cmd, app)+"` deploys the current folder.", "the app %s was never deployed", app)
	}
	// The list may leave out links; the single view does not.
	return c.Deployment(cmd.Context(), app, deployments[0].ID)
}
