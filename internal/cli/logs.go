package cli

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) logsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Show the logs of an app",
		Long: `Show the last lines that the containers of an app wrote to stdout and stderr.
With --follow, go on with new lines until Ctrl-C; an interrupted connection is
opened again.

--filter takes process types and containers, separated by "|".

` + appHelp,
		Example: `  atoll logs
  atoll logs -n 100 -F worker
  atoll logs -f -F 'web|api-2' -a shop-catalog
  atoll logs -f --json | jq -r .text`,
		Args: arguments(),
		RunE: t.logs,
	}
	t.addApp(cmd)
	cmd.Flags().IntP("lines", "n", 20, "how many of the last lines to show")
	cmd.Flags().BoolP("follow", "f", false, "go on with new lines")
	cmd.Flags().StringP("filter", "F", "", "only lines of these types or containers, as in web|worker-1")
	t.completeFlag(cmd, "filter", t.scopes)
	addJSON(cmd)
	return cmd
}

func (t *tool) logs(cmd *cobra.Command, _ []string) error {
	query, follow, err := logFlags(cmd)
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
	print := logPrinter{out: cmd.OutOrStdout(), colours: t.colours(cmd.OutOrStdout()), json: wantsJSON(cmd)}
	if !follow {
		text, err := c.Logs(cmd.Context(), app, query)
		if err != nil {
			return err
		}
		if text == "" {
			note(cmd, "There are no logs yet.")
		}
		return print.all(text)
	}
	var printErr error
	err = c.FollowLogs(cmd.Context(), app, query, client.Follower{
		Log: func(text string) {
			if printErr == nil {
				printErr = print.all(text)
			}
		},
		Notice: func(text string) { note(cmd, "%s", text) },
	})
	if printErr != nil {
		return printErr
	}
	if cmd.Context().Err() != nil {
		// Ctrl-C is the ordinary end of following: no message is due.
		return &failure{code: ExitInterrupted, err: cmd.Context().Err(), silent: true}
	}
	return err
}

func logFlags(cmd *cobra.Command) (q client.LogQuery, follow bool, err error) {
	if q.Lines, err = cmd.Flags().GetInt("lines"); err != nil {
		return q, false, err
	}
	if q.Filter, err = cmd.Flags().GetString("filter"); err != nil {
		return q, false, err
	}
	if q.Lines < 0 {
		return q, false, usage("--lines must not be negative")
	}
	follow, err = cmd.Flags().GetBool("follow")
	return q, follow, err
}

// logLine is "2006-01-02 15:04:05.999999999 +0000 UTC [label] text".
var logLine = regexp.MustCompile(`^(\S+) (\S+) \+0000 UTC \[([^\]]+)\] ?(.*)$`)

// logPrinter writes log lines as they are, with a coloured label on a
// terminal, or as one JSON object per line.
type logPrinter struct {
	out     io.Writer
	colours palette
	json    bool
}

func (p logPrinter) all(text string) error {
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		m := logLine.FindStringSubmatch(line)
		switch {
		case p.json:
			fmt.Fprintln(&out, p.asJSON(line, m))
		case m == nil || !bool(p.colours):
			fmt.Fprintln(&out, line)
		default:
			fmt.Fprintf(&out, "%s %s %s\n", p.colours.dim(m[1]+" "+m[2]), p.colours.name("["+m[3]+"]"), m[4])
		}
	}
	_, err := io.WriteString(p.out, out.String())
	return err
}

func (p logPrinter) asJSON(line string, m []string) string {
	object := struct {
		Time  string `json:"time,omitempty"`
		Label string `json:"label,omitempty"`
		Text  string `json:"text"`
	}{Text: line}
	if m != nil {
		object.Time, object.Label, object.Text = m[1]+"T"+m[2]+"Z", m[3], m[4]
	}
	return compactJSON(object)
}
