package main

import (
	"errors"
	"io/fs"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/lab"
)

func execCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "exec NAME server|internet -- COMMAND...",
		Short: "Run a command in a lab",
		Long: `Replaces itself by the command, in the network namespace of the lab's server
or internet. Mounts and control groups stay visible; signals and the exit code
are the command's own. Exits with 127 if there is no such command, with 126 if
it cannot be run.`,
		Example: `  atoll-lab exec demo server -- ip addr
  atoll-lab exec demo internet -- dig @203.0.113.2 example.com`,
		Args: cobra.MinimumNArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := lab.Open(args[0])
			if err != nil {
				return err
			}
			ns, err := l.Namespace(args[1])
			if err != nil {
				return err
			}
			return execError{ns.Exec(args[2:])}
		},
	}
}

// execError is a command that could not be run, as opposed to one that failed.
type execError struct{ error }

func (e execError) Unwrap() error { return e.error }

// exitCode follows the shells' custom.
func exitCode(err error) int {
	var failed execError
	switch {
	case !errors.As(err, &failed):
		return 1
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return 127
	}
	return 126
}
