package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) oneOffStopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "one-off-stop CONTAINER",
		Short: "Stop a one-off container or a run of a scheduled task",
		Long: `Stop a one-off container ("one-off-3", or just its number) or a run of a
scheduled task ("cron-7"): its command gets SIGTERM, and SIGKILL 30 seconds
later.

` + appHelp,
		Example: `  atoll one-off-stop one-off-3
  atoll one-off-stop 3 -a shop-gateway`,
		Args: arguments("CONTAINER"),
		RunE: t.oneOffStop,
	}
	t.addApp(cmd)
	t.completeArgs(cmd, 1, t.oneOffLabels)
	return cmd
}

func (t *tool) oneOffStop(cmd *cobra.Command, args []string) error {
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
	for _, container := range containers {
		if container.Label != args[0] && container.Label != platform.TypeOneOff+"-"+args[0] {
			continue
		}
		if err := c.StopContainer(cmd.Context(), app, container.ID); err != nil {
			return err
		}
		note(cmd, "%s is being stopped.", container.Label)
		return nil
	}
	return fail(ExitNotFound, "`atoll ps"+t.appOption(cmd, app)+"` lists the containers.", "%s does not run", args[0])
}

func (t *tool) oneOffLabels(ctx context.Context, c *client.Client, cmd *cobra.Command) []string {
	app, err := t.app(cmd, ".")
	if err != nil {
		return nil
	}
	containers, err := c.Containers(ctx, app)
	if err != nil {
		return nil
	}
	var names []string
	for _, container := range containers {
		if container.Type == platform.TypeOneOff || container.Type == platform.TypeCron {
			names = append(names, container.Label)
		}
	}
	return names
}

func (t *tool) sendSignalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "send-signal --signal SIGNAL TYPE|CONTAINER...",
		Short: "Send SIGUSR1 or SIGUSR2 to containers",
		Long: `Send SIGUSR1 or SIGUSR2 to the first process of containers, named one by one
("web-1") or by process type ("web"). Programs that start others (npm, for one)
may not pass it on.

` + appHelp,
		Example: `  atoll send-signal --signal SIGUSR1 web-1
  atoll send-signal --signal SIGUSR2 worker -a shop-gateway`,
		Args: arguments("CONTAINER..."),
		RunE: t.sendSignal,
	}
	t.addApp(cmd)
	cmd.Flags().String("signal", "", "SIGUSR1 or SIGUSR2")
	t.completeFlag(cmd, "signal", func(context.Context, *client.Client, *cobra.Command) []string { return []string{"SIGUSR1", "SIGUSR2"} })
	t.completeArgs(cmd, 0, t.scopes)
	return cmd
}

func (t *tool) sendSignal(cmd *cobra.Command, args []string) error {
	signal, err := cmd.Flags().GetString("signal")
	if err != nil {
		return err
	}
	if signal = strings.ToUpper(signal); !strings.HasPrefix(signal, "SIG") {
		signal = "SIG" + signal
	}
	if signal != "SIGUSR1" && signal != "SIGUSR2" {
		return usage("--signal must be SIGUSR1 or SIGUSR2")
	}
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
	for _, name := range args {
		found := false
		for _, container := range containers {
			if container.Label != name && container.Type != name {
				continue
			}
			found = true
			if err := c.SignalContainer(cmd.Context(), app, container.ID, signal); err != nil {
				return err
			}
			note(cmd, "%s was sent to %s.", signal, container.Label)
		}
		if !found {
			return fail(ExitNotFound, "`atoll ps"+t.appOption(cmd, app)+"` lists the containers.", "%s does not run", name)
		}
	}
	return nil
}
