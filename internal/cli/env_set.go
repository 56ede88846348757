package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) envSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME=VALUE...",
		Short: "Set variables",
		Long: `Set variables, all of them or, if one is refused, none. Others stay as they are.
Names have up to 64 letters, digits and underscores and begin with no
underscore; values have up to 32768 bytes.

Changed variables are in new containers only: restart the app to use them
everywhere.

` + appHelp,
		Example: `  atoll env set RATE=10 GREETING='hello world'
  atoll env set KEY="$(cat key.pem)" -a shop-api && atoll restart -a shop-api`,
		Args: arguments("NAME=VALUE..."),
		RunE: t.envSet,
	}
	t.addApp(cmd)
	return cmd
}

func (t *tool) envSet(cmd *cobra.Command, args []string) error {
	vars, err := parseVariables(args)
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
	if err := c.SetVariables(cmd.Context(), app, vars); err != nil {
		return err
	}
	note(cmd, "Set %s of %s.", count(len(vars), "variable", "variables"), app)
	t.noteRestart(cmd, app)
	return nil
}

func parseVariables(args []string) ([]client.Variable, error) {
	vars := make([]client.Variable, 0, len(args))
	seen := map[string]bool{}
	for _, arg := range args {
		name, value, found := strings.Cut(arg, "=")
		if !found {
			return nil, usage("%q is not of the form NAME=VALUE", arg)
		}
		if err := platform.ValidateVariable(name, value); err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, usage("%s is given twice", name)
		}
		seen[name] = true
		vars = append(vars, client.Variable{Name: name, Value: value})
	}
	return vars, nil
}
