// Command atoll-lab makes and removes laboratories: hermetic machines in
// network namespaces, for the demo and for trying things out. Tests use package
// lab directly.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := rootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "atoll-lab:", err)
		os.Exit(exitCode(err))
	}
}

func rootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "atoll-lab",
		Short: "A server and an internet, without a link to this machine's network",
		Long: `A laboratory is two network namespaces, "server" and "internet", joined to
each other and to nothing else. The internet answers DNS on 203.0.113.1 and
HTTP on 198.51.100.10; the server is 203.0.113.2. Needs root.`,
		Example: `  atoll-lab up demo
  atoll-lab exec demo server -- curl -s http://example.com/ --resolve example.com:80:198.51.100.10
  atoll-lab forward demo --listen 127.0.0.1:8080 --to 203.0.113.2:80 --from internet
  atoll-lab down demo`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(upCommand(), downCommand(), execCommand(), forwardCommand(), questionsCommand(), cleanCommand(),
		internetCommand(), forwarderCommand())
	return cmd
}
