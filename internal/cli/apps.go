package cli

import (
	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) appsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apps",
		Short: "List your apps",
		Long:  `List the apps you own or work on.`,
		Example: `  atoll apps
  atoll apps --project shop
  atoll apps --json`,
		Args: arguments(),
		RunE: t.apps,
	}
	cmd.Flags().String("project", "", "only the apps of this project (name or id)")
	t.completeFlag(cmd, "project", t.projectNames)
	addJSON(cmd)
	return cmd
}

func (t *tool) apps(cmd *cobra.Command, _ []string) error {
	project, err := cmd.Flags().GetString("project")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	all, err := c.Apps(cmd.Context())
	if err != nil {
		return err
	}
	apps := []client.App{}
	for _, app := range all {
		if project == "" || app.Project.ID == project || app.Project.Name == project {
			apps = append(apps, app)
		}
	}
	// A misspelt project must not look like an empty one.
	if project != "" && len(apps) == 0 {
		if _, err := findProject(cmd.Context(), c, project); err != nil {
			return err
		}
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), apps)
	}
	colours := t.colours(cmd.OutOrStdout())
	out := table{head: []string{"NAME", "STATUS", "PROJECT", "DEPLOYED", "URL"}, paint: map[int]func(string) string{1: colours.status}}
	for _, app := range apps {
		out.add(app.Name, app.Status, app.Project.Name, when(app.LastDeployedAt), app.URL)
	}
	return out.print(cmd.OutOrStdout())
}
