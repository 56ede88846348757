package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/atollhq/atoll/internal/platform"
)

// keptOneOffs is how many one-offs of an app and kind are remembered.
const keptOneOffs = 100

// OneOff finds a one-off by id, of whatever app.
func (s *Store) OneOff(ctx context.Context, id string) (platform.OneOff, error) {
	return oneOneOff(s.r.QueryRowContext(ctx, selectOneOff+" WHERE id = ?", id))
}

// OneOffOfOperation finds the one-off that an operation starts.
func (s *Store) OneOffOfOperation(ctx context.Context, operationID string) (platform.OneOff, error) {
	return oneOneOff(s.r.QueryRowContext(ctx, selectOneOff+" WHERE operation_id = ? AND operation_id != ''", operationID))
}

// UnfinishedOneOffs lists what waits or runs, of all apps, oldest first.
func (s *Store) UnfinishedOneOffs(ctx context.Context) ([]platform.OneOff, error) {
	return collect(ctx, s.r, scanOneOff, selectOneOff+" WHERE finished_at = 0 ORDER BY created_at")
}

// Private

const selectOneOff = `SELECT id, app_id, kind, number, command, size, env, user_id, release_id, operation_id, detached, task, state,
	exit_code, error, timed_out, deadline, created_at, finished_at FROM one_offs`

func scanOneOff(r scanner) (o platform.OneOff, err error) {
	var env string
	var deadline, created, finished int64
	if err = r.Scan(&o.ID, &o.AppID, &o.Kind, &o.Number, &o.Command, &o.Size, &env, &o.UserID, &o.ReleaseID, &o.OperationID, &o.Detached,
		&o.Task, &o.State, &o.ExitCode, &o.Error, &o.TimedOut, &deadline, &created, &finished); err != nil {
		return o, err
	}
	o.Deadline, o.CreatedAt, o.FinishedAt = unstamp(deadline), unstamp(created), unstamp(finished)
	return o, json.Unmarshal([]byte(env), &o.Env)
}

func oneOneOff(r scanner) (platform.OneOff, error) {
	o, err := scanOneOff(r)
	if errors.Is(err, sql.ErrNoRows) {
		return o, platform.NotFound("one-off", "there is no such one-off container; it may have ended long ago")
	}
	return o, err
}

func (s *Store) commitOneOff(ctx context.Context, tx *sql.Tx, appID string, c *Change) error {
	o := c.OneOff
	if o == nil {
		return nil
	}
	if o.State == platform.OneOffEnded && o.FinishedAt.IsZero() {
		o.FinishedAt = s.now()
	}
	if o.CreatedAt.IsZero() {
		return s.addOneOff(ctx, tx, appID, o)
	}
	_, err := tx.ExecContext(ctx, `UPDATE one_offs SET release_id = ?, state = ?, exit_code = ?, error = ?, timed_out = ?, deadline = ?, finished_at = ?
		WHERE id = ?`, o.ReleaseID, o.State, o.ExitCode, o.Error, o.TimedOut, stamp(o.Deadline), stamp(o.FinishedAt), o.ID)
	return err
}

// addOneOff gives a new one-off its number, within the limits (OO-5).
func (s *Store) addOneOff(ctx context.Context, tx *sql.Tx, appID string, o *platform.OneOff) error {
	if o.Kind == platform.KindOneOff {
		if err := checkOneOffs(ctx, tx, appID, o.UserID); err != nil {
			return err
		}
	}
	o.AppID, o.CreatedAt = appID, s.now()
	if o.Kind == platform.KindPostdeploy {
		o.Number = 1
	} else if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) + 1 FROM one_offs WHERE app_id = ? AND kind = ?", appID, o.Kind).Scan(&o.Number); err != nil {
		return err
	}
	if o.Env == nil {
		o.Env = map[string]string{}
	}
	env, err := json.Marshal(o.Env)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO one_offs (id, app_id, kind, number, command, size, env, user_id, release_id, operation_id, detached, task,
		state, deadline, created_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`, o.ID, appID, o.Kind, o.Number, o.Command, o.Size, string(env), o.UserID,
		o.ReleaseID, o.OperationID, o.Detached, o.Task, o.State, stamp(o.Deadline), stamp(o.CreatedAt)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM one_offs WHERE app_id = ?1 AND kind = ?2 AND finished_at != 0 AND id NOT IN
		(SELECT id FROM one_offs WHERE app_id = ?1 AND kind = ?2 ORDER BY created_at DESC LIMIT ?3)`, appID, o.Kind, keptOneOffs)
	return err
}

func checkOneOffs(ctx context.Context, tx *sql.Tx, appID, userID string) error {
	var ofApp, ofUser int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE app_id = ?2), count(*) FILTER (WHERE user_id = ?3)
		FROM one_offs WHERE finished_at = 0 AND kind = ?1`, platform.KindOneOff, appID, userID).Scan(&ofApp, &ofUser); err != nil {
		return err
	}
	switch {
	case ofApp >= platform.MaxOneOffsPerApp:
		return platform.Conflict("the app has %d one-off containers already, more are not possible; stop one, or wait for the end of one", ofApp)
	case ofUser >= platform.MaxOneOffsPerUser:
		return platform.Conflict("you have %d one-off containers already, more are not possible; stop one, or wait for the end of one", ofUser)
	}
	return nil
}
