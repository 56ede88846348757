package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [FROM TO PORT]",
		Short: "Say why a container cannot reach another, or what is wrong with this machine",
		Long: `With arguments: finds out why the container FROM does not reach TO on PORT. It
goes the way that the container's own connection goes, tries it from inside the
container, and says in one sentence what is wrong and what to do.

  FROM   APP/TYPE/NUMBER, or APP/TYPE for its first container; with --app also
         TYPE-NUMBER or TYPE
  TO     what the container would connect to: billing.internal,
         api.billing.internal, 2.api.billing.internal, a long name, an address
  PORT   a number, with /udp for UDP

Without arguments: examines this machine as a server with the same settings
would find it (as root; before "atoll init" too), and the server that runs, if
one does. Nothing is changed. Packets are sent to the upstream resolvers only.`,
		Example: `  atoll doctor shop-gateway/web/1 api.shop-catalog.internal 3000
  atoll doctor -a shop-gateway web-1 10.240.0.7 53/udp
  sudo atoll doctor --config /etc/atoll/atoll.yml`,
	}
	t.addApp(cmd)
	addJSON(cmd)
	var examine func() error
	if t.machine != nil {
		examine = t.machine(cmd)
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && examine != nil {
			return nil
		}
		return arguments("FROM", "TO", "PORT")(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return examine()
		}
		return t.diagnose(cmd, args[0], args[1], args[2])
	}
	return cmd
}

// diagnose asks the server about a path.
func (t *tool) diagnose(cmd *cobra.Command, from, to, port string) error {
	app, container, err := t.from(cmd, from)
	if err != nil {
		return err
	}
	q := client.PathQuestion{Container: container, To: to}
	if q.Port, q.Protocol, err = parsePort(port); err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	d, err := c.Diagnose(cmd.Context(), app, q)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		err = printJSON(cmd.OutOrStdout(), d)
	} else {
		err = printDiagnosis(cmd.OutOrStdout(), t.colours(cmd.OutOrStdout()), d)
	}
	if err == nil && !d.Works {
		return &failure{code: ExitFailure, err: fmt.Errorf("%s", d.Sentence), silent: true}
	}
	return err
}

// from reads FROM: APP/TYPE[/NUMBER], or a label or type of the app that is
// chosen otherwise.
func (t *tool) from(cmd *cobra.Command, text string) (app, container string, err error) {
	parts := strings.Split(text, "/")
	switch len(parts) {
	case 1:
		app, err = t.app(cmd, ".")
		return app, text, err
	case 2:
		return parts[0], parts[1], nil
	case 3:
		if n, err := strconv.Atoi(parts[2]); err == nil && n > 0 {
			return parts[0], platform.ContainerLabel(parts[1], n), nil
		}
	}
	return "", "", usage("FROM %q must be APP/TYPE/NUMBER, such as shop-gateway/web/1", text)
}

func parsePort(text string) (port uint16, protocol string, err error) {
	number, protocol, found := strings.Cut(strings.ToLower(text), "/")
	if !found {
		protocol = "tcp"
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || protocol != "tcp" && protocol != "udp" {
		return 0, "", usage("PORT %q must be a number from 1 to 65535, with /udp for UDP", text)
	}
	return uint16(n), protocol, nil
}

func printDiagnosis(w io.Writer, p palette, d client.PathDiagnosis) error {
	width := 0
	for _, s := range d.Steps {
		width = max(width, len(s.Name))
	}
	var out strings.Builder
	for _, s := range d.Steps {
		state := fmt.Sprintf("%-7s", s.Outcome)
		switch s.Outcome {
		case "ok":
			state = p.good(state)
		case "failed":
			state = p.bad(state)
		case "warning":
			state = p.busy(state)
		case "skipped":
			state = p.dim(state)
		}
		fmt.Fprintf(&out, "%s  %-*s  %s\n", state, width, s.Name, s.Text)
	}
	fmt.Fprintf(&out, "\n%s\n", d.Sentence)
	_, err := io.WriteString(w, out.String())
	return err
}
