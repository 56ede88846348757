package server

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

// stackRetry is the time between attempts to load the stack image.
const stackRetry = 30 * time.Second

// stackImage is the image of the stack as the engine needs it.
type stackImage struct {
	layout string
	engine interface {
		ImportLayout(ctx context.Context, layout, ref string) error
	}
	log *slog.Logger
}

// load makes the image, as it is on disk now, known to the engine.
func (i stackImage) load(ctx context.Context) error {
	for _, ref := range []string{stackRunRef, stackBuildRef} {
		if err := i.engine.ImportLayout(ctx, i.layout, ref); err != nil {
			return fmt.Errorf("cannot load the stack image %s: %w", ref, err)
		}
	}
	return nil
}

// loadLater loads the image as soon as that is possible. It returns nil when
// it is loaded.
func (i stackImage) loadLater(ctx context.Context) error {
	for {
		select {
		case <-time.After(stackRetry):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		err := i.load(ctx)
		if err == nil {
			i.log.Info("The stack image is loaded")
			return nil
		}
		i.log.Debug("The stack image cannot be loaded yet", "error", err)
	}
}

func (c Config) stackLayout() string { return filepath.Join(c.StackDir, stackName+".oci") }
