package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run [flags] COMMAND [ARGUMENT]...",
		Short: "Run a command in a one-off container",
		Long: `Run a command in a new container of the app's present version, which is
removed afterwards. It has the variables of the app, and is a member of the
private network with a name of its own (1.one-off.APP.internal), but never under
the name of a process type.

What you type goes to the command and what it writes comes back; the exit code
is that of the command. From a terminal the command has a terminal as well. When
standard input or output is a file or a pipe it has none, so that data passes
unaltered. Should the connection break, the container ends.

With --detached the container runs by itself and writes to the logs of the app.

Flags of the command itself come after it and are left alone. The words are
joined by spaces and given to bash: quote what bash is to expand.

` + appHelp,
		Example: `  atoll run bash
  atoll run bin/migrate --all
  atoll run 'echo $APP; df -h'
  atoll run --detached --size 2XL bin/rebuild-index
  atoll run --file dump.sql 'psql $DATABASE_URL < /tmp/uploads/dump.sql'
  cat users.csv | atoll run bin/import > report.txt`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !cmd.Flags().Changed("type") {
				return usage("COMMAND is missing")
			}
			return nil
		},
		RunE: t.run,
	}
	cmd.Flags().SetInterspersed(false)
	t.addApp(cmd)
	cmd.Flags().BoolP("detached", "d", false, "do not connect to it; its output goes to the logs")
	cmd.Flags().StringP("size", "s", platform.DefaultSize, "size of the container: "+sizeNames())
	cmd.Flags().StringArrayP("env", "e", nil, "variable NAME=VALUE for this container, over those of the app (may be repeated)")
	cmd.Flags().StringArrayP("file", "f", nil, "file or folder to upload to "+platform.UploadDir+", a folder as NAME.tar.gz (may be repeated)")
	cmd.Flags().StringP("type", "t", "", "run the command of this process type; COMMAND is added to it")
	t.completeFlag(cmd, "type", t.processTypes)
	t.completeFlag(cmd, "size", func(context.Context, *client.Client, *cobra.Command) []string {
		return strings.Split(sizeNames(), ", ")
	})
	return cmd
}

func sizeNames() string {
	names := make([]string, 0, len(platform.Sizes))
	for _, s := range platform.Sizes {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

func (t *tool) run(cmd *cobra.Command, args []string) error {
	r, files, err := t.runFlags(cmd)
	if err != nil {
		return err
	}
	app, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	r.Command = strings.Join(args, " ")
	if processType, err := cmd.Flags().GetString("type"); err != nil || processType != "" {
		if err != nil {
			return err
		}
		if r.Command, err = typeCommand(cmd.Context(), c, app, processType, args); err != nil {
			return err
		}
	}
	screen := &screen{in: cmd.InOrStdin(), out: cmd.OutOrStdout()}
	if !r.Detached {
		screen.terminal = t.isTerminal(screen.in) && t.isTerminal(screen.out)
		r.Terminal.Wanted = screen.terminal
		if screen.terminal {
			r.Terminal.Width, r.Terminal.Height = screen.size()
			if name := t.getenv("TERM"); name != "" && r.Env["TERM"] == "" {
				r.Env["TERM"] = name
			}
		}
	}
	o, err := c.RunOneOff(cmd.Context(), app, r)
	if err != nil {
		return err
	}
	if r.Detached {
		fmt.Fprintln(cmd.OutOrStdout(), o.Container.Label)
		note(cmd, "It runs by itself; `atoll logs -f -F %s%s` shows what it writes.", o.Container.Label, t.appOption(cmd, app))
		return nil
	}
	return t.attach(cmd, c, app, o, files, screen)
}

func (t *tool) runFlags(cmd *cobra.Command) (r client.Run, files []string, err error) {
	if r.Detached, err = cmd.Flags().GetBool("detached"); err != nil {
		return r, nil, err
	}
	if r.Size, err = cmd.Flags().GetString("size"); err != nil {
		return r, nil, err
	}
	if _, err := platform.SizeByName(r.Size); err != nil {
		return r, nil, err
	}
	pairs, err := cmd.Flags().GetStringArray("env")
	if err != nil {
		return r, nil, err
	}
	r.Env = map[string]string{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return r, nil, usage("--env %q is not of the form NAME=VALUE", pair)
		}
		if err := platform.ValidateVariable(name, value); err != nil {
			return r, nil, err
		}
		r.Env[name] = value
	}
	if files, err = cmd.Flags().GetStringArray("file"); err != nil {
		return r, nil, err
	}
	if len(files) > 0 && r.Detached {
		return r, nil, usage("--file is possible without --detached only: files are sent before the container starts, and a detached one starts at once")
	}
	for _, path := range files {
		if _, err := os.Stat(path); err != nil {
			return r, nil, usage("cannot upload %s: %v", path, err)
		}
	}
	return r, files, nil
}

// typeCommand is the command of a process type with the words behind it.
func typeCommand(ctx context.Context, c *client.Client, app, processType string, args []string) (string, error) {
	formation, err := c.Formation(ctx, app)
	if err != nil {
		return "", err
	}
	for _, p := range formation {
		if p.Name == processType && p.Command != "" {
			return strings.Join(append([]string{p.Command}, args...), " "), nil
		}
	}
	return "", fail(ExitNotFound, "`atoll scale` without arguments lists the process types.", "the app has no process type %q with a command", processType)
}

// attach uploads the files, connects, and ends as the command ends.
func (t *tool) attach(cmd *cobra.Command, c *client.Client, app string, o client.OneOff, files []string, s *screen) error {
	operation, err := c.WaitOperation(cmd.Context(), app, o.Operation)
	switch {
	case err != nil:
		return t.letGo(cmd, c, app, o, err)
	case operation.Status == "error":
		return fail(ExitFailure, "", "%s could not be started: %s", o.Container.Label, operation.Error)
	case operation.StartOneOff == nil:
		return fail(ExitFailure, "", "the server does not say where to connect to %s: is it of another version?", o.Container.Label)
	}
	attachURL := operation.StartOneOff.AttachURL
	for _, path := range files {
		note(cmd, "Uploading %s ...", path)
		if err := upload(cmd.Context(), c, attachURL, path); err != nil {
			return t.letGo(cmd, c, app, o, err)
		}
	}
	conn, err := c.Attach(cmd.Context(), attachURL)
	if err != nil {
		return t.letGo(cmd, c, app, o, err)
	}
	err = s.connect(cmd.Context(), conn, func(width, height int) {
		// A size that gets lost is corrected by the next one.
		_ = c.Resize(cmd.Context(), attachURL, width, height)
	})
	if cmd.Context().Err() != nil || err != nil {
		return t.letGo(cmd, c, app, o, err)
	}
	code, reason, err := c.WaitOneOff(cmd.Context(), attachURL)
	if client.StatusOf(err) == http.StatusRequestTimeout {
		return fail(ExitFailure, "Detached containers have no such limit: `atoll run --detached`.", "%s was ended: %s", o.Container.Label, strings.TrimPrefix(err.Error(), "cannot tell how the command ended: "))
	}
	if err != nil {
		return err
	}
	if reason != "" {
		note(cmd, "%s ended with code %d: %s", o.Container.Label, code, reason)
	}
	if code != 0 {
		return &failure{code: code, err: fmt.Errorf("the command ended with code %d", code), silent: true}
	}
	return nil
}

// letGo stops a container that this command does not wait for any more.
func (t *tool) letGo(cmd *cobra.Command, c *client.Client, app string, o client.OneOff, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), 10*time.Second)
	defer cancel()
	if err := c.StopContainer(ctx, app, o.Container.ID); err != nil && client.StatusOf(err) != http.StatusNotFound {
		note(cmd, "%s may go on: %v", o.Container.Label, err)
	}
	if cmd.Context().Err() != nil {
		return fail(ExitInterrupted, "", "interrupted; %s is stopped", o.Container.Label)
	}
	if cause == nil {
		cause = io.ErrUnexpectedEOF
	}
	return cause
}

// screen is where the person, or a pipe, is.
type screen struct {
	in       io.Reader
	out      io.Writer
	terminal bool
}

// size is that of the terminal, 0 when it has none.
func (s *screen) size() (width, height int) {
	if f, ok := s.out.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil {
			return width, height
		}
	}
	return 0, 0
}

// connect copies in both directions until the other side closes. A terminal
// is raw meanwhile: every key is the command's, Ctrl-C included.
func (s *screen) connect(ctx context.Context, conn *client.Connection, resize func(width, height int)) error {
	defer conn.Close()
	if s.terminal {
		fd := int(s.in.(*os.File).Fd())
		before, err := term.MakeRaw(fd)
		if err != nil {
			return fmt.Errorf("cannot prepare the terminal: %w", err)
		}
		defer term.Restore(fd, before) //nolint:errcheck // it worked a moment ago
		following, stop := context.WithCancel(ctx)
		defer stop()
		go s.follow(following, resize)
	}
	go func() {
		// Errors show on the way back: the connection ends.
		_, _ = io.Copy(conn, s.in)
		if s.terminal {
			_, _ = conn.Write([]byte{4})
		} else {
			_ = conn.CloseWrite()
		}
	}()
	_, err := io.Copy(s.out, conn)
	if err != nil {
		return fmt.Errorf("the connection to the container broke: %w", err)
	}
	return nil
}

// follow tells each new size of the terminal.
func (s *screen) follow(ctx context.Context, resize func(width, height int)) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-changed:
			if width, height := s.size(); width > 0 {
				resize(width, height)
			}
		case <-ctx.Done():
			return
		}
	}
}
