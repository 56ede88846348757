package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

const projectHelp = `The project is chosen by --project, else it is that of the app, which is chosen
by --app, else by ATOLL_APP, else by the file .atoll in this folder or one above
it.`

// addProject adds the flags that choose a project.
func (t *tool) addProject(cmd *cobra.Command) {
	cmd.Flags().String("project", "", "name or id of the project (else that of the app)")
	t.completeFlag(cmd, "project", t.projectNames)
	t.addApp(cmd)
	cmd.MarkFlagsMutuallyExclusive("project", "app")
}

// project says which project a command is about.
func (t *tool) project(cmd *cobra.Command, c *client.Client) (client.Project, error) {
	named, err := cmd.Flags().GetString("project")
	if err != nil {
		return client.Project{}, err
	}
	if named != "" {
		return findProject(cmd.Context(), c, named)
	}
	if cmd.Flags().Changed("project") {
		return client.Project{}, usage("--project is empty")
	}
	name, err := t.app(cmd, ".")
	if errors.Is(err, errNoApp) {
		return client.Project{}, fail(ExitUsage, "Name it with --project NAME, or an app of it with --app NAME. `atoll projects` lists your projects.", "no project is chosen")
	}
	if err != nil {
		return client.Project{}, err
	}
	app, err := c.App(cmd.Context(), name)
	return app.Project, err
}

// projectOption is how to name the project in advice to the person: as it was
// named in this command.
func (t *tool) projectOption(cmd *cobra.Command) string {
	for _, flag := range []string{"project", "app"} {
		if value, err := cmd.Flags().GetString(flag); err == nil && value != "" {
			return " --" + flag + " " + value
		}
	}
	return ""
}
