package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

// Exit codes, for scripts. They are documented by `atoll help exit-codes` and
// never change their meaning.
const (
	ExitOK = 0
	// ExitFailure: it did not work, for a reason that is none of the others.
	ExitFailure = 1
	// ExitUsage: the command line is wrong, or a value in it was refused.
	ExitUsage = 2
	// ExitAuth: not logged in, token not accepted, or not allowed.
	ExitAuth = 3
	// ExitNotFound: what was named does not exist.
	ExitNotFound = 4
	// ExitConflict: the present state does not allow it; perhaps later.
	ExitConflict = 5
	// ExitDeployment: the deployment ended, but not in success.
	ExitDeployment = 6
	// ExitInterrupted: stopped by Ctrl-C or SIGTERM.
	ExitInterrupted = 130
)

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes of the commands mean",
		Long: `Every command ends with one of these codes:

    0    it worked
    1    it failed: the server cannot be reached, an operation failed, ...
    2    the command line is wrong, or the server refused a value in it
    3    not logged in, the token is not accepted, or you are not allowed
    4    the app, project, variable, ... does not exist
    5    the present state does not allow it (a deployment runs already, ...)
    6    the deployment ended, but not in success
  130    interrupted by Ctrl-C or SIGTERM

` + "`atoll run`" + ` ends with the exit code of what it ran instead.

Errors are written to stderr, with what can be done about them.`,
	}
}

// Execute runs the root command with the arguments of the process and returns
// its exit code; errors are on stderr by then. The context of the commands
// ends with the first SIGINT or SIGTERM; a second one ends the process at once
// unless a command handles signals itself.
func Execute(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return execute(ctx, root)
}

func execute(ctx context.Context, root *cobra.Command) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	markRunErrors(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	explain(cmd.ErrOrStderr(), cmd, err)
	return exitCode(err)
}

// failure is an error with an exit code of its own and advice.
type failure struct {
	code int
	err  error
	// hint says what can be done, on a line of its own; may be "".
	hint string
	// silent: the code says it all.
	silent bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(code int, hint, format string, args ...any) error {
	return &failure{code: code, hint: hint, err: fmt.Errorf(format, args...)}
}

// usage is the error of a wrong command line.
func usage(format string, args ...any) error { return fail(ExitUsage, "", format, args...) }

// runError marks errors of a command's own code. Whatever else comes out of
// cobra (unknown commands and flags, wrong arguments) is a wrong command line.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

func markRunErrors(cmd *cobra.Command) {
	for _, run := range []*func(*cobra.Command, []string) error{&cmd.PersistentPreRunE, &cmd.PreRunE, &cmd.RunE, &cmd.PostRunE, &cmd.PersistentPostRunE} {
		if inner := *run; inner != nil {
			*run = func(cmd *cobra.Command, args []string) error {
				if err := inner(cmd, args); err != nil {
					return &runError{err}
				}
				return nil
			}
		}
	}
	for _, child := range cmd.Commands() {
		markRunErrors(child)
	}
}

func exitCode(err error) int {
	var f *failure
	var ran *runError
	switch {
	case errors.As(err, &f):
		return f.code
	case !errors.As(err, &ran):
		return ExitUsage
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case platform.CodeOf(err) == platform.CodeInvalid:
		return ExitUsage
	}
	switch client.StatusOf(err) {
	case http.StatusUnprocessableEntity:
		return ExitUsage
	case http.StatusUnauthorized, http.StatusForbidden:
		return ExitAuth
	case http.StatusNotFound:
		return ExitNotFound
	case http.StatusConflict:
		return ExitConflict
	}
	return ExitFailure
}

// explain writes an error and what can be done about it.
func explain(w io.Writer, cmd *cobra.Command, err error) {
	if f := (*failure)(nil); errors.As(err, &f) && f.silent {
		return
	}
	if exitCode(err) == ExitInterrupted && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(w, "Error: %v\n", err)
	if hint := hintFor(cmd, err); hint != "" {
		fmt.Fprintf(w, "%s\n", hint)
	}
}

func hintFor(cmd *cobra.Command, err error) string {
	var f *failure
	if errors.As(err, &f) && f.hint != "" {
		return f.hint
	}
	var unreachable *client.UnreachableError
	if errors.As(err, &unreachable) {
		return "Check that the server runs and that the URL is right; `atoll login --url URL` sets another one."
	}
	var answer *client.Error
	if errors.As(err, &answer) {
		return answerHint(answer)
	}
	if exitCode(err) == ExitUsage {
		return fmt.Sprintf("See `%s --help`.", cmd.CommandPath())
	}
	return ""
}

func answerHint(e *client.Error) string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return "Log in with `atoll login`, or set ATOLL_URL and ATOLL_TOKEN."
	case e.Status == http.StatusNotFound && e.Resource == "app":
		return "`atoll apps` lists your apps."
	case e.Status == http.StatusNotFound && e.Resource == "project":
		return "`atoll projects` lists your projects."
	case e.Status == http.StatusNotFound && e.Resource == "container_type":
		return "`atoll scale` without arguments lists the process types."
	case e.Status == http.StatusNotFound && e.Resource == "deployment":
		return "`atoll deployments` lists the deployments."
	}
	return ""
}
