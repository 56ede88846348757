package cli

import (
	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) projectRenameCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rename ID|NAME NEW-NAME",
		Short: "Rename a project",
		Long:  `Rename a project. Private names do not change: they are made of ids and app names.`,
		Example: `  atoll projects rename shop shop-production
  atoll projects rename shop shop-production --json`,
		Args: arguments("ID or NAME", "NEW-NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := platform.ValidateProjectName(args[1]); err != nil {
				return err
			}
			c, err := t.client(cmd)
			if err != nil {
				return err
			}
			project, err := findProject(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			renamed, err := c.RenameProject(cmd.Context(), project.ID, args[1])
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), renamed)
			}
			note(cmd, "Renamed the project %s to %s.", project.Name, renamed.Name)
			return nil
		},
	}
	addJSON(cmd)
	t.completeArgs(cmd, 1, t.projectNames)
	return cmd
}
