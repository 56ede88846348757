package cli

import (
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) projectDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete ID|NAME",
		Short: "Delete a project without apps",
		Long: `Delete a project and its private network. The project must have no apps and
must not be the default one, so nothing that runs can be lost and no question is
asked.`,
		Example: `  atoll projects delete staging`,
		Args:    arguments("ID or NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := t.client(cmd)
			if err != nil {
				return err
			}
			project, err := findProject(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			err = c.DeleteProject(cmd.Context(), project.ID)
			if answer := (*client.Error)(nil); errors.As(err, &answer) && answer.Status == http.StatusConflict {
				return fail(ExitConflict, "Only a project that has no apps and is not the default one can be deleted; `atoll projects show "+project.Name+"` lists its apps.", "%w", err)
			}
			if err != nil {
				return err
			}
			note(cmd, "Deleted the project %s.", project.Name)
			return nil
		},
	}
	t.completeArgs(cmd, 1, t.projectNames)
	return cmd
}
