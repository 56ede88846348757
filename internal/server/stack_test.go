package server

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// importer is an engine that cannot import until there is room.
type importer struct {
	room  time.Time
	known []string
}

func (i *importer) ImportLayout(_ context.Context, _, ref string) error {
	if time.Now().Before(i.room) {
		return errors.New("no space left on device")
	}
	i.known = append(i.known, ref)
	return nil
}

func TestTheStackIsLoadedOnceThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		engine := &importer{room: began.Add(10 * time.Minute)}
		image := stackImage{layout: "stack", engine: engine, log: slog.Default()}
		if err := image.load(t.Context()); err == nil {
			t.Error("it is loaded without room")
		}
		if err := image.loadLater(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Minute+stackRetry || len(engine.known) != 2 {
			t.Errorf("after %v the engine knows %v", took, engine.known)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := image.loadLater(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("after the server's end: %v", err)
		}
	})
}
