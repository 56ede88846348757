package containerd

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/engine/enginetest"
	"github.com/atollhq/atoll/internal/platform"
)

// While its turn to be noted down is far off, a container that ends or is to
// stop leaves the names at once.
func TestNobodyWaitsForANoteToLeaveTheNames(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(k *keeper, exited chan ending)
		want    platform.InstanceState
	}{
		"ended": {func(_ *keeper, exited chan ending) { exited <- ending{Exit: platform.Exit{Code: 1, At: time.Now()}} }, platform.InstanceCrashed},
		"stop":  {func(k *keeper, _ chan ending) { k.askStop() }, platform.InstanceDraining},
	} {
		t.Run(name, func(t *testing.T) {
			sink := enginetest.NewRecorder()
			e := &Engine{cfg: Config{Sink: sink}, ends: newTurns(1), log: slog.New(slog.NewTextHandler(t.Output(), nil)), keepers: map[string]*keeper{}}
			e.ends.ask("another") // it takes long
			w := workload("probe wait", 1)
			k := newKeeper(e, newRecord(w, 1, "test", time.Now()))
			k.alive = true
			k.publish(func(i *platform.Instance) { i.State, i.StartedAt = platform.InstanceRunning, time.Now() })
			k.setActive(false)
			exited := make(chan ending, 1)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				k.run(ctx, exited)
			}()
			for len(k.saveC) > 0 { // until it lines up
				time.Sleep(time.Millisecond)
			}
			tt.happens(k, exited)
			sink.Await(t, w.ID, name, func(rows []platform.Instance) bool { return rows[0].State == tt.want })
			cancel()
			<-done
		})
	}
}
