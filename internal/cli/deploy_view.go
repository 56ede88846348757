package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// deploymentView shows a deployment: its output as it is, and each state on a
// line of its own.
type deploymentView struct {
	out     io.Writer
	colours palette
	last    string
	midLine bool
}

func (t *tool) deploymentView(cmd *cobra.Command) *deploymentView {
	out := cmd.OutOrStdout()
	if wantsJSON(cmd) {
		out = cmd.ErrOrStderr()
	}
	return &deploymentView{out: out, colours: t.colours(out)}
}

func (v *deploymentView) showLog(text string) {
	fmt.Fprint(v.out, text)
	v.midLine = !strings.HasSuffix(text, "\n")
}

func (v *deploymentView) showStatus(status string) {
	if status == "" || status == v.last {
		return
	}
	if v.midLine {
		fmt.Fprintln(v.out)
		v.midLine = false
	}
	v.last = status
	fmt.Fprintf(v.out, "==> %s\n", v.colours.status(status))
}
