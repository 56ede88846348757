package oneoff

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// RunHook runs the hook of a deployment in a container of the release, which
// is in the store already, and returns when it has ended. Its output goes to
// out and to the app's log. The error says, for the user, why the deployment
// must not go on; when ctx ends, so does the hook.
func (s *Service) RunHook(ctx context.Context, release platform.Release, command string, out io.Writer) error {
	o := platform.OneOff{ID: platform.NewID(), Kind: platform.KindPostdeploy, Command: command, Size: platform.DefaultSize,
		ReleaseID: release.ID, State: platform.OneOffRunning, Deadline: time.Now().Add(s.HookLimit)}
	l, err := s.add(ctx, release.AppID, &store.Change{OneOff: &o}, Attached{})
	if err != nil {
		return fmt.Errorf("cannot record the postdeploy hook: %w", err)
	}
	log, err := s.OpenLog(o.AppID, o.Label())
	if err != nil {
		s.finish(context.WithoutCancel(ctx), l, exitNever, "its log could not be opened")
		return fmt.Errorf("cannot open the log for the postdeploy hook: %w", err)
	}
	defer log.Close()
	tee := &lineWriter{next: out, log: log}
	s.launch(ctx, l, &engine.Attachment{Output: tee})
	o, err = s.await(ctx, l, "the deployment was aborted")
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	}
	tee.flush()
	switch {
	case o.TimedOut:
		return &HookError{fmt.Sprintf("the postdeploy hook ran for %v, the longest that is possible, and was stopped (status -128); make it quicker, or start a one-off for the long part", s.HookLimit)}
	case o.Error != "":
		return &HookError{fmt.Sprintf("the postdeploy hook failed: %s (exit code %d)", o.Error, o.ExitCode)}
	case o.ExitCode != 0:
		return &HookError{fmt.Sprintf("the postdeploy hook failed with exit code %d; the lines above say why", o.ExitCode)}
	}
	return nil
}

// HookError is a failed hook, in words for the user.
type HookError struct{ Message string }

func (e *HookError) Error() string { return e.Message }

// lineWriter passes output on as it comes, and line by line.
type lineWriter struct {
	next io.Writer
	log  AppLog
	part []byte
}

// maxPart is the longest line that is kept together.
const maxPart = 16 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' || len(w.part) >= maxPart {
			w.flush()
		}
		if b != '\n' {
			w.part = append(w.part, b)
		}
	}
	return w.next.Write(p)
}

func (w *lineWriter) flush() {
	if len(w.part) > 0 {
		w.log.Line(w.part)
		w.part = w.part[:0]
	}
}
