package cli

import (
	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) projectCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a project with its private network",
		Long: `Create a project with its private network. The name has 1 to 64 characters of
a-z, 0-9, - and _.`,
		Example: `  atoll projects create shop
  atoll projects create staging --default`,
		Args: arguments("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := platform.ValidateProjectName(args[0]); err != nil {
				return err
			}
			makeDefault, err := cmd.Flags().GetBool("default")
			if err != nil {
				return err
			}
			c, err := t.client(cmd)
			if err != nil {
				return err
			}
			project, err := c.CreateProject(cmd.Context(), args[0], makeDefault)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), project)
			}
			note(cmd, "Created the project %s (%s).", project.Name, project.ID)
			if !project.Default {
				note(cmd, "Put an app into it with `atoll create NAME --project %s`.", project.Name)
			}
			return nil
		},
	}
	cmd.Flags().Bool("default", false, "make it the project of new apps")
	addJSON(cmd)
	return cmd
}
