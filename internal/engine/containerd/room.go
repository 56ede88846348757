package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// roomTime is how long after a refused attempt one is made again when room
// depends on containers that are being removed.
const roomTime = time.Second

// NoRoomError is an error of Network.Setup: there is no room for one more
// container at present.
type NoRoomError struct {
	Err error
	// Private: it is the container's private network that is full, and not
	// what all networks of the machine share.
	Private bool
	// In is how long it takes until there is room without anybody's doing; 0
	// when that is not known.
	In time.Duration
}

func (e *NoRoomError) Error() string { return e.Err.Error() }

func (e *NoRoomError) Unwrap() error { return e.Err }

// roomIn returns when a Setup that failed is worth another attempt because
// there will be room by itself: addresses will have rested, or containers are
// just being removed. Otherwise somebody has to make room, and should know.
func (e *Engine) roomIn(err error, r Request) (time.Duration, bool) {
	var full *NoRoomError
	switch {
	case !errors.As(err, &full):
		return 0, false
	case full.In > 0:
		return withJitter(full.In), true
	}
	return withJitter(roomTime), e.makesRoom(full, r)
}

// makesRoom reports whether a container is being removed whose place the
// request could have.
func (e *Engine) makesRoom(full *NoRoomError, r Request) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range e.keepers {
		if !k.stopAsked() {
			continue
		}
		held := k.record().request()
		if !full.Private || held.Private && held.Network.Key == r.Network.Key {
			return true
		}
	}
	return false
}

// setupJob connects a job, and waits for room as long as ctx allows.
func (e *Engine) setupJob(ctx context.Context, r Request) (Sandbox, error) {
	for {
		s, err := e.cfg.Network.Setup(ctx, r)
		wait, later := e.roomIn(err, r)
		if err == nil || !later {
			return s, err
		}
		e.log.Info("a job waits for room", "job", r.InstanceID, "reason", err, "retry in", wait)
		if !pause(ctx, wait) {
			return s, fmt.Errorf("there was no room for it in time: %w", err)
		}
	}
}
