package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// Formation lists the process types of an app, by name.
func (s *Store) Formation(ctx context.Context, appID string) ([]platform.ProcessType, error) {
	return formation(ctx, s.r, appID)
}

// Workload is a row of the desired table: which containers of which release
// the engine is asked to hold. What else the engine needs (environment,
// network, limits) is looked up when it is told.
type Workload struct {
	ID         string
	AppID      string
	Type       string
	Generation int64
	Numbers    []int
	Active     bool
	ReleaseID  string
	Command    string
	Size       string
	CreatedAt  time.Time
}

// Workloads lists the workloads of an app, oldest first.
func (s *Store) Workloads(ctx context.Context, appID string) ([]Workload, error) {
	return workloads(ctx, s.r, appID)
}

// Operation finds an operation of an app.
func (s *Store) Operation(ctx context.Context, appID, id string) (platform.Operation, error) {
	o, err := scanOperation(s.r.QueryRowContext(ctx, selectOperation+" WHERE id = ? AND app_id = ?", id, appID))
	if errors.Is(err, sql.ErrNoRows) {
		return o, platform.NotFound("operation", "the app has no such operation")
	}
	return o, err
}

// UnfinishedOperations lists what was under way, of all apps: at a start,
// those that the last process did not finish.
func (s *Store) UnfinishedOperations(ctx context.Context) ([]platform.Operation, error) {
	return collect(ctx, s.r, scanOperation, selectOperation+" WHERE finished_at = 0 ORDER BY created_at")
}

// Private

func formation(ctx context.Context, q querier, appID string) ([]platform.ProcessType, error) {
	return collect(ctx, q, scanProcessType, selectProcessType+" WHERE app_id = ? ORDER BY name", appID)
}

func workloads(ctx context.Context, q querier, appID string) ([]Workload, error) {
	return collect(ctx, q, scanWorkload, selectWorkload+" WHERE app_id = ? ORDER BY generation, type", appID)
}

const selectProcessType = "SELECT app_id, name, amount, size, command, updated_at FROM process_types"

func scanProcessType(r scanner) (t platform.ProcessType, err error) {
	var updated int64
	err = r.Scan(&t.AppID, &t.Name, &t.Amount, &t.Size, &t.Command, &updated)
	t.UpdatedAt = unstamp(updated)
	return t, err
}

func (s *Store) putProcessType(ctx context.Context, tx *sql.Tx, t platform.ProcessType) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO process_types (app_id, name, amount, size, command, updated_at) VALUES (?,?,?,?,?,?)
		ON CONFLICT (app_id, name) DO UPDATE SET amount = excluded.amount, size = excluded.size, command = excluded.command, updated_at = excluded.updated_at`,
		t.AppID, t.Name, t.Amount, t.Size, t.Command, stamp(s.now()))
	if err != nil {
		return fmt.Errorf("cannot set process type %s: %w", t.Name, err)
	}
	return nil
}

const selectWorkload = "SELECT id, app_id, type, generation, numbers, active, release_id, command, size, created_at FROM workloads"

func scanWorkload(r scanner) (w Workload, err error) {
	var created int64
	var numbers string
	if err = r.Scan(&w.ID, &w.AppID, &w.Type, &w.Generation, &numbers, &w.Active, &w.ReleaseID, &w.Command, &w.Size, &created); err != nil {
		return w, err
	}
	w.CreatedAt = unstamp(created)
	return w, json.Unmarshal([]byte(numbers), &w.Numbers)
}

const selectOperation = "SELECT id, app_id, type, status, error, created_at, finished_at FROM operations"

func scanOperation(r scanner) (o platform.Operation, err error) {
	var created, finished int64
	err = r.Scan(&o.ID, &o.AppID, &o.Type, &o.Status, &o.Error, &created, &finished)
	o.CreatedAt, o.FinishedAt = unstamp(created), unstamp(finished)
	return o, err
}
