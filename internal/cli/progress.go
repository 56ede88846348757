package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// progress reads an upload and shows how far it is: on a terminal in a line
// that is written anew at most ten times a second, elsewhere in one line at
// the end.
type progress struct {
	io.Reader
	out        io.Writer
	live       bool
	done, size int64
	drawn      time.Time
}

func (t *tool) progress(cmd *cobra.Command, r io.Reader, size int64) *progress {
	return &progress{Reader: r, out: cmd.ErrOrStderr(), live: t.isTerminal(cmd.ErrOrStderr()), size: size}
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.done += int64(n)
	if p.live && time.Since(p.drawn) > 100*time.Millisecond {
		p.drawn = time.Now()
		fmt.Fprintf(p.out, "\rUploading %s of %s (%d %%)\x1b[K", bytesText(p.done), bytesText(p.size), 100*p.done/max(p.size, 1))
	}
	return n, err
}

// end clears the line and says how it went; a failure is told by the error.
func (p *progress) end(ok bool) {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	if ok {
		fmt.Fprintf(p.out, "Uploaded %s.\n", bytesText(p.size))
	}
}
