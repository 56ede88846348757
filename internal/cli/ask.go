package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// ask puts a question on stderr and reads a line. Without a terminal nobody
// could answer: the error is instead then, and says which flag to use.
func (t *tool) ask(cmd *cobra.Command, question string, instead error) (string, error) {
	if !t.isTerminal(cmd.InOrStdin()) {
		return "", instead
	}
	fmt.Fprint(cmd.ErrOrStderr(), question)
	return untilInterrupted(cmd, func() (string, error) {
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		if err == io.EOF && line != "" {
			err = nil
		}
		return strings.TrimSpace(line), err
	})
}

// askSecret is ask without showing what is typed.
func (t *tool) askSecret(cmd *cobra.Command, question string, instead error) (string, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !t.isTerminal(in) {
		return "", instead
	}
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("cannot read from the terminal: %w", err)
	}
	fmt.Fprint(cmd.ErrOrStderr(), question)
	secret, err := untilInterrupted(cmd, func() (string, error) {
		secret, err := t.readSecret(fd)
		return string(secret), err
	})
	fmt.Fprintln(cmd.ErrOrStderr())
	if cmd.Context().Err() != nil {
		// The reader was left behind with the echo switched off.
		if err := term.Restore(fd, before); err != nil {
			note(cmd, "cannot bring the terminal back to normal, `stty echo` does: %v", err)
		}
	}
	return secret, err
}

// untilInterrupted runs a read that knows no context; after Ctrl-C it is left
// behind, the process is about to end.
func untilInterrupted(cmd *cobra.Command, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := read()
		answers <- answer{text, err}
	}()
	select {
	case <-cmd.Context().Done():
		return "", cmd.Context().Err()
	case a := <-answers:
		return a.text, a.err
	}
}
