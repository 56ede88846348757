package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func addJSON(cmd *cobra.Command) {
	cmd.Flags().Bool("json", false, "print JSON on stdout")
}

func wantsJSON(cmd *cobra.Command) bool {
	on, err := cmd.Flags().GetBool("json")
	return err == nil && on
}

// printJSON writes one indented document. A nil list would read null: pass
// lists through list.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// compactJSON is v on one line. It is for values that cannot fail to marshal.
func compactJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// table is aligned plain text. paint colours the cells of a column by their
// text; widths are those of the plain text.
type table struct {
	head  []string
	rows  [][]string
	paint map[int]func(string) string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) error {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	t.line(&out, t.head, widths, false)
	for _, row := range t.rows {
		t.line(&out, row, widths, true)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// printBelow prints the table below something else.
func (t *table) printBelow(w io.Writer) error {
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return t.print(w)
}

func (t *table) line(out *strings.Builder, row []string, widths []int, painted bool) {
	var line strings.Builder
	for i, cell := range row {
		text := cell
		if paint := t.paint[i]; painted && paint != nil {
			text = paint(cell)
		}
		line.WriteString(text)
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
	}
	out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// facts prints "name  value" lines; empty values are left out.
func facts(w io.Writer, pairs ...string) error {
	width := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// palette colours text, or leaves it alone.
type palette bool

// colours decides for one stream.
func (t *tool) colours(w io.Writer) palette {
	return palette(t.getenv("NO_COLOR") == "" && t.getenv("TERM") != "dumb" && t.isTerminal(w))
}

func (p palette) wrap(code, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p palette) good(text string) string { return p.wrap("32", text) }
func (p palette) bad(text string) string  { return p.wrap("31", text) }
func (p palette) busy(text string) string { return p.wrap("33", text) }
func (p palette) dim(text string) string  { return p.wrap("2", text) }
func (p palette) name(text string) string { return p.wrap("36", text) }

// status colours a state of an app, container, deployment or operation.
func (p palette) status(text string) string {
	switch {
	case text == "running" || text == "success" || text == "done":
		return p.good(text)
	case strings.HasSuffix(text, "error") || text == "crashed" || text == "failed" || text == "aborted":
		return p.bad(text)
	case text == "stopped" || text == "new":
		return p.dim(text)
	}
	return p.busy(text)
}

// when shows a time in the person's own zone, "-" for none.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// bytesText shows an amount of bytes with at most one decimal.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, name := float64(n), ""
	for _, name = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value /= unit; value < unit {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, name)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// note writes a remark to stderr.
func note(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
}
