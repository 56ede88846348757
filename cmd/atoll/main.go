// Command atoll is the server and the client of Atoll.
package main

//go:generate sh -c "go run . reference > ../../docs/cli.md"

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/cli"
	"github.com/atollhq/atoll/internal/source"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(cli.Execute(root()))
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "atoll",
		Short: "A platform for many small services with private networks",
		Long: `Atoll deploys apps from source and gives every project a private network:
services find each other by name, and nothing is reachable from outside unless
its process type is called web or tcp.

On the machine that runs the apps: atoll init, then atoll server.
Everywhere else: atoll login, atoll create, atoll deploy.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(serverCommand(), initCommand())
	cmd.AddCommand(cli.Commands(source.Pack, machineDoctor)...)
	return cmd
}
