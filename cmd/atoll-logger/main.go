// Command atoll-logger writes the output of one container to the log of its
// app. containerd's shim starts it beside the container, with the two pipes
// and with arguments as pairs of a name and a value, in any order:
//
//	atoll-logger dir DIR app APP-ID label web-1
//
// It is a program of its own, and small, because there is one for every
// container and because it has to outlive the server.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/core/runtime/v2/logging"

	"github.com/atollhq/atoll/internal/logs"
)

func main() {
	// It ends with the container's output and with nothing else: a container
	// whose pipes nobody reads hangs. (SIGTERM is caught by logging.Run, and
	// the context that it ends is not used.)
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	logging.Run(func(_ context.Context, c *logging.Config, ready func() error) error {
		w, err := writer(os.Args[1:])
		if err != nil {
			return err // before ready: the container does not start
		}
		if err := ready(); err != nil {
			return fmt.Errorf("cannot tell the shim that the log is ready: %w", err)
		}
		var streams sync.WaitGroup
		for _, r := range []io.Reader{c.Stdout, c.Stderr} {
			streams.Go(func() { _ = w.Copy(r) }) // an error of a pipe is its end
		}
		streams.Wait()
		return w.Close()
	})
}

func writer(args []string) (*logs.Writer, error) {
	values := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		values[args[i]] = args[i+1]
	}
	for _, name := range []string{"dir", "app", "label"} {
		if values[name] == "" {
			return nil, fmt.Errorf("argument %q is missing; this program is started by containerd's shim: atoll-logger dir DIR app APP-ID label LABEL", name)
		}
	}
	return logs.NewWriter(values["dir"], values["app"], values["label"], true)
}
