package cli

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) createCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create an app",
		Long: `Create an app. The name is part of its public address and of its short private
names: 6 to 48 lower-case letters, digits and single hyphens.

With --link the file .atoll in the current folder names the app from then on,
and commands in this folder and below need no --app. The file holds the name
only and may be committed.`,
		Example: `  atoll create shop-gateway
  atoll create shop-gateway --project shop --link
  atoll create shop-gateway --json`,
		Args: arguments("NAME"),
		RunE: t.create,
	}
	cmd.Flags().String("project", "", "project of the app, name or id (else your default project)")
	cmd.Flags().Bool("link", false, "write the file .atoll, so that this folder needs no --app")
	t.completeFlag(cmd, "project", t.projectNames)
	addJSON(cmd)
	return cmd
}

func (t *tool) create(cmd *cobra.Command, args []string) error {
	if err := platform.ValidateAppName(args[0]); err != nil {
		return err
	}
	link, err := cmd.Flags().GetBool("link")
	if err != nil {
		return err
	}
	if link {
		// Before the app exists: a failed command shall have changed nothing.
		if _, err := os.Lstat(linkFile); !errors.Is(err, fs.ErrNotExist) {
			return fail(ExitConflict, "Remove the file, or create the app without --link.", "this folder has a file %s already", linkFile)
		}
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	projectID, err := cmd.Flags().GetString("project")
	if err != nil {
		return err
	}
	if projectID != "" {
		project, err := findProject(cmd.Context(), c, projectID)
		if err != nil {
			return err
		}
		projectID = project.ID
	}
	app, err := c.CreateApp(cmd.Context(), args[0], projectID)
	if err != nil {
		return err
	}
	option := " -a " + app.Name
	if link {
		if err := writeLink(linkFile, app.Name); err != nil {
			note(cmd, "The app %s was created.", app.Name)
			return err
		}
		option = ""
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), app)
	}
	note(cmd, "Created the app %s (%s) in the project %s.", app.Name, app.ID, app.Project.Name)
	note(cmd, "Deploy the current folder with `atoll deploy%s`; it will be served at %s", option, app.URL)
	return nil
}
