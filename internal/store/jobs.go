package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// Jobs lists the scheduled tasks of an app, as they stand in its cron.json.
func (s *Store) Jobs(ctx context.Context, appID string) ([]platform.Job, error) {
	return collect(ctx, s.r, scanJob, selectJob+" WHERE app_id = ? ORDER BY position", appID)
}

// AllJobs lists the scheduled tasks of all apps.
func (s *Store) AllJobs(ctx context.Context) ([]platform.Job, error) {
	return collect(ctx, s.r, scanJob, selectJob+" ORDER BY app_id, position")
}

// Private

const selectJob = "SELECT id, app_id, schedule, command, size, created_at, last_run FROM jobs"

func scanJob(r scanner) (j platform.Job, err error) {
	var created, last int64
	err = r.Scan(&j.ID, &j.AppID, &j.Schedule, &j.Command, &j.Size, &created, &last)
	j.CreatedAt, j.LastRun = unstamp(created), unstamp(last)
	return j, err
}

// commitJobs replaces the tasks of an app. One that was there already keeps
// its id and its last run.
func (s *Store) commitJobs(ctx context.Context, tx *sql.Tx, appID string, c *Change) error {
	if o := c.OneOff; o != nil && o.Task != "" && o.State == platform.OneOffRunning {
		if _, err := tx.ExecContext(ctx, "UPDATE jobs SET last_run = ? WHERE id = ?", stamp(o.CreatedAt), o.Task); err != nil {
			return err
		}
	}
	if c.Jobs == nil {
		return nil
	}
	old, err := collect(ctx, tx, scanJob, selectJob+" WHERE app_id = ? ORDER BY position", appID)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM jobs WHERE app_id = ?", appID); err != nil {
		return err
	}
	for position, j := range c.Jobs {
		j.ID, j.CreatedAt, j.LastRun = platform.NewID(), s.now(), time.Time{}
		for i, before := range old {
			if before.Schedule == j.Schedule && before.Command == j.Command && before.Size == j.Size {
				j.ID, j.CreatedAt, j.LastRun = before.ID, before.CreatedAt, before.LastRun
				old = append(old[:i], old[i+1:]...)
				break
			}
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO jobs (id, app_id, position, schedule, command, size, created_at, last_run) VALUES (?,?,?,?,?,?,?,?)",
			j.ID, appID, position, j.Schedule, j.Command, j.Size, stamp(j.CreatedAt), stamp(j.LastRun)); err != nil {
			return err
		}
	}
	return nil
}
