package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/doctor"
	"github.com/atollhq/atoll/internal/server"
)

func serverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the platform on this machine (as root)",
		Long: `Runs every role of the platform in one process: API, deployments, engine,
private and outside network, resolver and router.

It checks the machine first and says what is missing and how to get it. Where
it ran before, it starts with warnings when only deployments or outside names
would fail: for want of disk space, the stack image or resolv.conf.
Containers go on when the server ends, however it ends; the next start finds
them again.

While it runs it looks after the networks: what is missing is restored, what
belongs to no container is removed. It refuses to remove the networks of most
containers at once, and to stop containers of apps that were never in its
database; its log says so. After you have made sure that they are to go,
--accept-removal lets it.`,
		Example: `  atoll server --check
  atoll server --config /etc/atoll/atoll.yml
  atoll server --base-domain apps.example.com --api-listen 127.0.0.1:7000`,
		Args: cobra.NoArgs,
	}
	read := configFlags(cmd)
	check := cmd.Flags().Bool("check", false, "check the machine, change nothing, and end")
	accept := cmd.Flags().Bool("accept-removal", false, "let the server that runs, or its next start within 10 minutes, remove what it refused to, and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		if *accept {
			return server.AcceptRemoval(cfg)
		}
		log, err := newLog(cfg.LogLevel)
		if err != nil {
			return err
		}
		ctx := cmd.Context() // ends with SIGINT and SIGTERM, see cli.Execute
		results := doctor.Examine(ctx, server.Checks(cfg))
		if *check {
			if err := doctor.Print(cmd.OutOrStdout(), results); err != nil {
				return err
			}
		}
		for _, r := range doctor.With(results, doctor.Warning) {
			log.Warn("The machine is not quite as it should be", "check", r.Name, "finding", r.Text)
		}
		if err := doctor.Failures(results); err != nil || *check {
			return err
		}
		return server.Run(ctx, cfg, log)
	}
	return cmd
}

func newLog(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log_level %q must be debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	if stderrIsTerminal() {
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
}
