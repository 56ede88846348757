package server

import (
	"bytes"
	"context"
	"fmt"

	"github.com/atollhq/atoll/internal/logs"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/router"
)

// appLogs shows the logs of apps as the API wants them: as text, with the
// filter as the user wrote it.
type appLogs struct{ *logs.Store }

// Tail returns the last n lines that match.
func (l appLogs) Tail(_ context.Context, appID string, n int, filter string) ([]byte, error) {
	f, err := parseFilter(filter)
	if err != nil {
		return nil, err
	}
	lines, err := l.Store.Tail(appID, n, f)
	if err != nil {
		return nil, fmt.Errorf("cannot read the log: %w", err)
	}
	var text bytes.Buffer
	for _, line := range lines {
		text.WriteString(line.String() + "\n")
	}
	return text.Bytes(), nil
}

// Follow calls fn with lines as they come.
func (l appLogs) Follow(ctx context.Context, appID, filter string, fn func([]byte) error) error {
	f, err := parseFilter(filter)
	if err != nil {
		return err
	}
	return l.Store.Follow(ctx, appID, f, func(line logs.Line) error { return fn([]byte(line.String() + "\n")) })
}

func parseFilter(filter string) (logs.Filter, error) {
	f, err := logs.ParseFilter(filter)
	if err != nil {
		return f, platform.Invalid("filter", "%v", err)
	}
	return f, nil
}

// logRequest writes a request into the log of its app, if that wants it. The
// shape is that of RT-35.
func (s *machine) logRequest(e router.Entry) {
	apps, _ := s.directory.Snapshot()
	if e.AppID == "" || !apps[e.AppID].RouterLogs {
		return
	}
	line := fmt.Sprintf("method=%s path=%q host=%s request_id=%s container=%s from=%q protocol=%s status=%d duration=%.3fs bytes=%d referer=%q user_agent=%q",
		e.Method, e.Path, e.Host, e.RequestID, e.Container, e.From, e.Protocol, e.Status, e.Duration.Seconds(), e.Bytes, e.Referer, e.UserAgent)
	if err := s.logs.Platform(e.AppID, "router", line); err != nil {
		s.log.Error("Cannot write the router's log", "app", e.AppName, "error", err)
	}
}
