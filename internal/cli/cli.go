package cli

import (
	"context"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Packer writes the folder dir to w as a gzip'd tar with one top folder,
// without what the folder's ignore files name, and returns how many files
// went in.
type Packer func(ctx context.Context, dir string, w io.Writer) (files int, err error)

// Machine examines the machine it runs on, for `atoll doctor` without
// arguments. It adds its flags to the command.
type Machine func(cmd *cobra.Command) (examine func() error)

// Commands returns the client's commands for the root command of atoll. The
// root's Version becomes the User-Agent. Run the root with Execute to get the
// documented exit codes.
func Commands(pack Packer, machine Machine) []*cobra.Command {
	t := &tool{pack: pack, machine: machine, getenv: os.Getenv, isTerminal: isTerminal, readSecret: term.ReadPassword}
	return t.commands()
}

// tool is what the commands share: the world around them.
type tool struct {
	pack    Packer
	machine Machine
	getenv  func(string) string
	// isTerminal tells of a stream of a command whether a person sits there.
	isTerminal func(stream any) bool
	// readSecret reads a line from a terminal without showing it.
	readSecret func(fd int) ([]byte, error)
	// transport, poll and giveUp are set by tests; zero values mean the
	// client's own.
	transport    http.RoundTripper
	poll, giveUp time.Duration
}

func (t *tool) commands() []*cobra.Command {
	return []*cobra.Command{
		t.loginCommand(),
		t.logoutCommand(),
		t.whoamiCommand(),
		t.projectsCommand(),
		t.appsCommand(),
		t.createCommand(),
		t.infoCommand(),
		t.renameCommand(),
		t.destroyCommand(),
		t.deployCommand(),
		t.deploymentsCommand(),
		t.envCommand(),
		t.scaleCommand(),
		t.psCommand(),
		t.restartCommand(),
		t.runCommand(),
		t.oneOffStopCommand(),
		t.sendSignalCommand(),
		t.cronTasksCommand(),
		t.logsCommand(),
		t.namesCommand(),
		t.doctorCommand(),
		t.policyCommand(),
		t.flowsCommand(),
		t.dropsCommand(),
		t.eventsCommand(),
		exitCodesTopic(),
		referenceCommand(),
	}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
