package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/atollhq/atoll/internal/platform"
)

// CreateDeployment queues a deployment. CodeConflict when one of the same
// app is under way, there is one at a time (BU-7), or when the app is
// scaling or restarting.
func (s *Store) CreateDeployment(ctx context.Context, user platform.User, appID, gitRef, sourceID string) (platform.Deployment, error) {
	d := platform.Deployment{ID: platform.NewID(), AppID: appID, Status: platform.DeploymentQueued, GitRef: gitRef,
		SourceID: sourceID, PusherID: user.ID, CreatedAt: s.now()}
	err := s.write(ctx, func(tx *sql.Tx) error {
		if err := requireStill(ctx, tx, appID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO deployments (id, app_id, status, git_ref, source_id, pusher_id, created_at) VALUES (?,?,?,?,?,?,?)`,
			d.ID, d.AppID, d.Status, d.GitRef, d.SourceID, d.PusherID, stamp(d.CreatedAt))
		if isUnique(err) {
			var running string
			if err := tx.QueryRowContext(ctx, "SELECT id FROM deployments WHERE app_id = ? AND finished_at = 0", appID).Scan(&running); err != nil {
				return err
			}
			return platform.Conflict("deployment %s of this app is still running; wait for its end, then deploy again", running)
		}
		if err != nil {
			return fmt.Errorf("cannot add a deployment: %w", err)
		}
		return nil
	})
	return d, err
}

// Deployment finds a deployment of an app.
func (s *Store) Deployment(ctx context.Context, appID, id string) (platform.Deployment, error) {
	d, err := scanDeployment(s.r.QueryRowContext(ctx, selectDeployment+" WHERE id = ? AND app_id = ?", id, appID))
	if errors.Is(err, sql.ErrNoRows) {
		return d, platform.NotFound("deployment", "the app has no such deployment")
	}
	return d, err
}

// Deployments lists an app's deployments, newest first, and how many there
// are.
func (s *Store) Deployments(ctx context.Context, appID string, p Page) ([]platform.Deployment, int, error) {
	var total int
	if err := s.r.QueryRowContext(ctx, "SELECT count(*) FROM deployments WHERE app_id = ?", appID).Scan(&total); err != nil {
		return nil, 0, err
	}
	list, err := collect(ctx, s.r, scanDeployment, selectDeployment+" WHERE app_id = ? ORDER BY created_at DESC, id LIMIT ? OFFSET ?",
		appID, max(p.PerPage, 1), p.offset())
	return list, total, err
}

// UnfinishedDeployments lists what was under way, of all apps, oldest first:
// at a start, those that the last process did not finish.
func (s *Store) UnfinishedDeployments(ctx context.Context) ([]platform.Deployment, error) {
	return collect(ctx, s.r, scanDeployment, selectDeployment+" WHERE finished_at = 0 ORDER BY created_at")
}

// Release finds a release by id.
func (s *Store) Release(ctx context.Context, id string) (platform.Release, error) {
	return oneRelease(ctx, s.r, id)
}

// Releases lists an app's releases, newest first.
func (s *Store) Releases(ctx context.Context, appID string) ([]platform.Release, error) {
	return collect(ctx, s.r, scanRelease, selectRelease+" WHERE app_id = ? ORDER BY created_at DESC", appID)
}

// Private

const selectDeployment = `SELECT id, app_id, status, git_ref, source_id, pusher_id, image, image_size, error, created_at, finished_at, postdeploy_hook FROM deployments`

func scanDeployment(r scanner) (d platform.Deployment, err error) {
	var created, finished int64
	err = r.Scan(&d.ID, &d.AppID, &d.Status, &d.GitRef, &d.SourceID, &d.PusherID, &d.Image, &d.ImageSize, &d.Error, &created, &finished, &d.PostdeployHook)
	d.CreatedAt, d.FinishedAt = unstamp(created), unstamp(finished)
	return d, err
}

const selectRelease = `SELECT id, app_id, deployment_id, image, image_size, version, commands, created_at FROM releases`

func oneRelease(ctx context.Context, q querier, id string) (platform.Release, error) {
	r, err := scanRelease(q.QueryRowContext(ctx, selectRelease+" WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return r, platform.NotFound("release", "there is no release %s", id)
	}
	return r, err
}

func scanRelease(r scanner) (rel platform.Release, err error) {
	var created int64
	var commands string
	if err = r.Scan(&rel.ID, &rel.AppID, &rel.DeploymentID, &rel.Image, &rel.ImageSize, &rel.Version, &commands, &created); err != nil {
		return rel, err
	}
	rel.CreatedAt = unstamp(created)
	return rel, json.Unmarshal([]byte(commands), &rel.Commands)
}
