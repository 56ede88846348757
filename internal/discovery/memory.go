package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/statefile"
)

// rememberEvery bounds how often the file is written. What was seen later
// than that before a kill -9 is seen again.
const rememberEvery = 100 * time.Millisecond

// sight is what was seen of one container and its process.
type sight struct {
	ID          string               `json:"id"`
	StartedAt   time.Time            `json:"started_at"`
	Observation platform.Observation `json:"observation"`
}

// Recall writes into the roster what a former process of this server saw of
// the processes that still run, so that their names are whole from the first
// answer on: to look at a thousand containers takes a second. Call it once the
// roster has every container, before names are served. Without a file nothing
// is known; one that cannot be read is an error, and everything is looked at as
// if for the first time.
func (o *Observer) Recall() error {
	text, err := os.ReadFile(o.cfg.File)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot recall who was ready: %w", err)
	}
	var sights []sight
	if err := json.Unmarshal(text, &sights); err != nil {
		return fmt.Errorf("cannot recall who was ready: %s is damaged: %w", o.cfg.File, err)
	}
	for _, s := range sights {
		inst, known := o.cfg.Roster.Get(s.ID)
		if !known {
			continue
		}
		if !inst.StartedAt.Equal(s.StartedAt) { // that says nothing of the present process
			s.Observation = platform.Observation{Served: s.Observation.Served}
		}
		o.cfg.Roster.Observe(s.ID, inst.StartedAt, s.Observation)
	}
	return nil
}

// remember keeps the file as the roster is until ctx ends.
func (o *Observer) remember(ctx context.Context) {
	var written []byte
	failed := false
	note := func(rows []platform.Instance) {
		text, err := json.Marshal(sightsOf(rows))
		if err == nil && !bytes.Equal(text, written) {
			if err = statefile.Replace(o.cfg.File, text, 0o600); err == nil {
				written = text
			}
		}
		if err != nil && !failed {
			o.cfg.Log.Error("Cannot note who is ready: after a restart of the server names miss containers until they are looked at again", "file", o.cfg.File, "error", err)
		}
		failed = err != nil
	}
	for ctx.Err() == nil {
		rows, changed := o.cfg.Roster.Snapshot()
		note(rows)
		select {
		case <-ctx.Done():
		case <-changed:
			// More changes come together: they are one write.
			select {
			case <-ctx.Done():
			case <-time.After(rememberEvery):
			}
		}
	}
	rows, _ := o.cfg.Roster.Snapshot()
	note(rows)
}

// sightsOf is what is worth recalling: who is ready, and who has served.
func sightsOf(rows []platform.Instance) []sight {
	sights := []sight{}
	for _, inst := range rows {
		o := inst.Observation
		o.Leaving = false // that is about a stop which this process was asked for
		if o.Served || o.Ready && !inst.StartedAt.IsZero() {
			sights = append(sights, sight{inst.ID, inst.StartedAt, o})
		}
	}
	return sights
}
