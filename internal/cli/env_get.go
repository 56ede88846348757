package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (t *tool) envGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Print the value of a variable",
		Long: `Print the value of a variable as containers get it: $OTHER is replaced by the
value of OTHER.

` + appHelp,
		Example: `  atoll env get DATABASE_URL
  psql "$(atoll env get DATABASE_URL -a shop-api)"`,
		Args: arguments("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := t.app(cmd, ".")
			if err != nil {
				return err
			}
			c, err := t.client(cmd)
			if err != nil {
				return err
			}
			vars, err := c.Variables(cmd.Context(), app, true)
			if err != nil {
				return err
			}
			for _, v := range vars {
				if v.Name != args[0] {
					continue
				}
				if wantsJSON(cmd) {
					return printJSON(cmd.OutOrStdout(), v)
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), v.Value)
				return err
			}
			return fail(ExitNotFound, "`atoll env"+t.appOption(cmd, app)+"` lists the variables.", "the app %s has no variable %s", app, args[0])
		},
	}
	t.addApp(cmd)
	addJSON(cmd)
	t.completeArgs(cmd, 1, t.variableNames)
	return cmd
}
