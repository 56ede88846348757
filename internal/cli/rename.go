package cli

import (
	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) renameCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rename NEW-NAME",
		Short: "Rename an app",
		Long: `Rename an app. Its public address and its short private names (NAME.internal)
change at once; the long private names are made of ids and stay. A file .atoll
that names the app is updated.

` + appHelp,
		Example: `  atoll rename shop-front -a shop-gateway`,
		Args:    arguments("NEW-NAME"),
		RunE:    t.rename,
	}
	t.addApp(cmd)
	addJSON(cmd)
	return cmd
}

func (t *tool) rename(cmd *cobra.Command, args []string) error {
	if err := platform.ValidateAppName(args[0]); err != nil {
		return err
	}
	name, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	before, err := c.App(cmd.Context(), name)
	if err != nil {
		return err
	}
	after, err := c.RenameApp(cmd.Context(), before.Name, args[0])
	if err != nil {
		return err
	}
	if path, linked, err := findLink("."); err == nil && linked == before.Name {
		if err := writeLink(path, after.Name); err != nil {
			note(cmd, "The app was renamed to %s.", after.Name)
			return err
		}
		note(cmd, "Updated %s.", path)
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), after)
	}
	note(cmd, "Renamed %s to %s. It is served at %s now.", before.Name, after.Name, after.URL)
	return nil
}
