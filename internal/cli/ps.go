package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) psCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List the containers of an app",
		Long: `List the containers of an app with their state, one-off containers included.
SERVES says whether a container is in the private names of its type and, for
web, gets requests from outside: it is ready and not being replaced. Why a
container does not run is told on stderr.

` + appHelp,
		Example: `  atoll ps
  atoll ps -a shop-gateway --json`,
		Args: arguments(),
		RunE: t.ps,
	}
	t.addApp(cmd)
	addJSON(cmd)
	return cmd
}

func (t *tool) ps(cmd *cobra.Command, _ []string) error {
	app, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	containers, err := c.Containers(cmd.Context(), app)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), list(containers))
	}
	colours := t.colours(cmd.OutOrStdout())
	out := table{head: []string{"CONTAINER", "STATE", "SERVES", "PRIVATE IP", "SIZE", "CREATED", "COMMAND"}, paint: map[int]func(string) string{1: colours.status}}
	for _, container := range containers {
		serves, ip := "-", "-"
		if extra := container.Atoll; extra != nil {
			serves = yesNo(extra.InService)
			ip = cmp.Or(extra.PrivateIP, "-")
		}
		out.add(container.Label, container.State, serves, ip, container.Size.Name, when(container.CreatedAt), container.Command)
	}
	if err := out.print(cmd.OutOrStdout()); err != nil {
		return err
	}
	for _, container := range containers {
		noteReason(cmd, container)
	}
	return nil
}

// noteReason says why a container does not run.
func noteReason(cmd *cobra.Command, container client.Container) {
	extra := container.Atoll
	if extra == nil || extra.Reason == "" {
		return
	}
	next := ""
	if !extra.RetryAt.IsZero() {
		next = "; it is tried again at " + when(extra.RetryAt)
	}
	note(cmd, "%s %s: %s%s", container.Label, container.State, extra.Reason, next)
}
