package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) namesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "names",
		Short: "List the private DNS names of an app",
		Long: `List the private DNS names of an app. Containers of the same project reach the
app by them, on any port; nobody else can resolve them.

A name with a number means one container, one with a process type all ready
containers of that type, and one with neither those of the type web. The short
names are relative to the project's network; the long ones never change, not
even when the app is renamed.

` + appHelp,
		Example: `  atoll names
  atoll names -a shop-catalog --json`,
		Args: arguments(),
		RunE: t.names,
	}
	t.addApp(cmd)
	addJSON(cmd)
	return cmd
}

// privateName is a line of names.
type privateName struct {
	Name  string `json:"name"`
	Short string `json:"short_name"`
	Type  string `json:"type"`
	// Number is 0 for a name that means all containers of the type.
	Number int `json:"number"`
}

func (t *tool) names(cmd *cobra.Command, _ []string) error {
	name, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	app, err := c.App(cmd.Context(), name)
	if err != nil {
		return err
	}
	long, err := c.Names(cmd.Context(), app.Name)
	if err != nil {
		return err
	}
	names := make([]privateName, 0, len(long))
	for _, name := range long {
		names = append(names, shorten(name, app.Name))
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), names)
	}
	out := table{head: []string{"SHORT NAME", "TYPE", "CONTAINER", "NAME"}}
	for _, n := range names {
		container := "all"
		if n.Number > 0 {
			container = strconv.Itoa(n.Number)
		}
		out.add(n.Short, n.Type, container, n.Name)
	}
	return out.print(cmd.OutOrStdout())
}

// shorten computes the short form of a long name. A name of a form that this
// version does not know has no short one.
func shorten(long, app string) privateName {
	parsed, ok := platform.ParsePrivateName(long)
	if !ok {
		return privateName{Name: long, Short: "-", Type: "-"}
	}
	short := platform.PrivateName{Number: parsed.Number, Type: parsed.Type, AppName: app}
	return privateName{Name: long, Short: short.String(), Type: parsed.ServiceType(), Number: parsed.Number}
}
