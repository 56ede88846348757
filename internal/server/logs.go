package server

import (
	"bytes"
	"context"
	"fmt"

	"github.com/atollhq/atoll/internal/logs"
	"github.com/atollhq/atoll/internal/platform"
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
