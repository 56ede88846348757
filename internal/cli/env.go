package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) envCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "env",
		Short: "List the environment variables of an app",
		Long: `List the environment variables of an app as NAME=value lines that a shell can
read. Subcommands get, set and unset variables. A value of the form $OTHER
stands for the value of the variable OTHER.

Changed variables are in new containers only: restart the app to use them
everywhere.

` + appHelp,
		Example: `  atoll env
  atoll env --json
  atoll env set RATE=10 GREETING='hello world'
  atoll env get RATE
  atoll env unset RATE`,
		Args: arguments(),
		RunE: t.env,
	}
	t.addApp(cmd)
	addJSON(cmd)
	cmd.AddCommand(t.envGetCommand(), t.envSetCommand(), t.envUnsetCommand())
	return cmd
}

func (t *tool) env(cmd *cobra.Command, _ []string) error {
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
	slices.SortFunc(vars, func(a, b client.Variable) int { return cmp.Compare(a.Name, b.Name) })
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), list(vars))
	}
	for _, v := range vars {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s=%s\n", v.Name, shellQuote(v.Value)); err != nil {
			return err
		}
	}
	return nil
}

// shellQuote writes a value so that a POSIX shell reads it back unchanged.
func shellQuote(value string) string {
	plain := !strings.ContainsFunc(value, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+,=", r))
	})
	if plain {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// noteRestart says when a change of variables counts.
func (t *tool) noteRestart(cmd *cobra.Command, app string) {
	note(cmd, "New containers will have it; `atoll restart%s` replaces those that run.", t.appOption(cmd, app))
}
