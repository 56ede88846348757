package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func (t *tool) envUnsetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unset NAME...",
		Short: "Remove variables",
		Long:  "Remove variables. If one of the names is unknown, nothing is removed.\n\n" + appHelp,
		Example: `  atoll env unset RATE
  atoll env unset RATE GREETING -a shop-api`,
		Args: arguments("NAME..."),
		RunE: t.envUnset,
	}
	t.addApp(cmd)
	t.completeArgs(cmd, 0, t.variableNames)
	return cmd
}

func (t *tool) envUnset(cmd *cobra.Command, names []string) error {
	app, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	vars, err := c.Variables(cmd.Context(), app, false)
	if err != nil {
		return err
	}
	ids := map[string]string{}
	for _, v := range vars {
		ids[v.Name] = v.ID
	}
	var unknown []string
	for _, name := range names {
		if ids[name] == "" {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return fail(ExitNotFound, "`atoll env"+t.appOption(cmd, app)+"` lists the variables; nothing was removed.", "the app %s has no variable %s", app, strings.Join(unknown, ", "))
	}
	removed := 0
	for _, name := range names {
		if ids[name] == "" {
			continue // named twice
		}
		if err := c.UnsetVariable(cmd.Context(), app, ids[name]); err != nil {
			return err
		}
		ids[name] = ""
		removed++
	}
	note(cmd, "Removed %s of %s.", count(removed, "variable", "variables"), app)
	t.noteRestart(cmd, app)
	return nil
}
