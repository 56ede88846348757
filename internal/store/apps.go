package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/atollhq/atoll/internal/platform"
)

// CreateApp adds an app to a project of the owner ("" means the default
// project) on a stack ("" means the default one), with the formation every
// app starts with: web at 1 (PT-9).
func (s *Store) CreateApp(ctx context.Context, owner platform.User, name, projectID, stackID string) (platform.App, error) {
	now := s.now()
	a := platform.App{ID: platform.NewAppID(), Name: name, OwnerID: owner.ID, Status: platform.AppNew, CreatedAt: now, UpdatedAt: now}
	if err := platform.ValidateAppName(name); err != nil {
		return a, err
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		p, err := oneProject(ctx, tx, " WHERE p.owner_id = ?1 AND (p.id = ?2 OR (?2 = '' AND p.is_default = 1))", owner.ID, projectID)
		if err != nil {
			return err
		}
		st, err := stack(ctx, tx, stackID)
		if err != nil {
			return err
		}
		a.ProjectID, a.StackID = p.ID, st.ID
		_, err = tx.ExecContext(ctx, `INSERT INTO apps (id, name, project_id, owner_id, stack_id, status, created_at, updated_at) VALUES (?,?,?,?,?,?,?,?)`,
			a.ID, a.Name, a.ProjectID, a.OwnerID, a.StackID, a.Status, stamp(now), stamp(now))
		if isUnique(err) {
			return platform.Invalid("name", "has already been taken; choose another name than %q", name)
		}
		if err != nil {
			return fmt.Errorf("cannot add app %s: %w", name, err)
		}
		if err := s.putProcessType(ctx, tx, platform.ProcessType{AppID: a.ID, Name: platform.TypeWeb, Amount: 1, Size: platform.DefaultSize}); err != nil {
			return err
		}
		return s.appEvent(ctx, tx, "new_app", owner.ID, a.ID, map[string]any{"git_source": ""})
	})
	return a, err
}

// App finds an app of a user by name or id.
func (s *Store) App(ctx context.Context, userID, nameOrID string) (platform.App, error) {
	return oneApp(ctx, s.r, " WHERE (name = ?1 OR id = ?1) AND owner_id = ?2", nameOrID, userID)
}

// AppByID finds an app whoever owns it.
func (s *Store) AppByID(ctx context.Context, id string) (platform.App, error) {
	return oneApp(ctx, s.r, " WHERE id = ?", id)
}

// Apps lists the apps of a user, by name.
func (s *Store) Apps(ctx context.Context, userID string) ([]platform.App, error) {
	return collect(ctx, s.r, scanApp, selectApp+" WHERE owner_id = ? ORDER BY name", userID)
}

// AllApps lists every app, by name.
func (s *Store) AllApps(ctx context.Context) ([]platform.App, error) {
	return collect(ctx, s.r, scanApp, selectApp+" ORDER BY name")
}

// KnowsApp reports whether the app is or ever was in this database: apps that
// were destroyed left events.
func (s *Store) KnowsApp(ctx context.Context, id string) (known bool, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM apps WHERE id = ?1) OR EXISTS (SELECT 1 FROM events WHERE app_id = ?1)`, id).Scan(&known)
	if err != nil {
		return false, fmt.Errorf("cannot look for app %s: %w", id, err)
	}
	return known, nil
}

// RenameApp gives an app another name. Its id, hence its private long names,
// stay.
func (s *Store) RenameApp(ctx context.Context, user platform.User, appID, name string) (platform.App, error) {
	var a platform.App
	if err := platform.ValidateAppNameAs("new_name", name); err != nil {
		return a, err
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		old, err := oneApp(ctx, tx, " WHERE id = ?", appID)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE apps SET name = ?, updated_at = ? WHERE id = ?", name, stamp(s.now()), appID)
		if isUnique(err) {
			return platform.Invalid("new_name", "has already been taken; choose another name than %q", name)
		}
		if err != nil {
			return err
		}
		if a, err = oneApp(ctx, tx, " WHERE id = ?", appID); err != nil {
			return err
		}
		return s.appEvent(ctx, tx, "rename_app", user.ID, appID, map[string]any{"old_name": old.Name, "new_name": name})
	})
	return a, err
}

// AppChanges are the switches of an app; nil means unchanged.
type AppChanges struct {
	ForceHTTPS    *bool
	StickySession *bool
	RouterLogs    *bool
}

// UpdateApp sets switches of an app.
func (s *Store) UpdateApp(ctx context.Context, user platform.User, appID string, c AppChanges) (platform.App, error) {
	var a platform.App
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE apps SET force_https = coalesce(?, force_https), sticky_session = coalesce(?, sticky_session),
			router_logs = coalesce(?, router_logs), updated_at = ? WHERE id = ?`, c.ForceHTTPS, c.StickySession, c.RouterLogs, stamp(s.now()), appID)
		if err != nil {
			return err
		}
		if a, err = oneApp(ctx, tx, " WHERE id = ?", appID); err != nil {
			return err
		}
		return s.appEvent(ctx, tx, "edit_app", user.ID, appID, map[string]any{"force_https": a.ForceHTTPS})
	})
	return a, err
}

// DeleteApp removes an app with all that belongs to it but its events, and
// the policy's rules that name it. CodeConflict while it is scaling, restarting
// or being deployed.
func (s *Store) DeleteApp(ctx context.Context, user platform.User, appID string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if err := requireIdle(ctx, tx, appID); err != nil {
			return err
		}
		if err := s.deleteRulesOf(ctx, tx, user, appID); err != nil {
			return err
		}
		if err := s.appEvent(ctx, tx, "delete_app", user.ID, appID, nil); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM apps WHERE id = ?", appID)
		return err
	})
}

// Private

const selectApp = `SELECT id, name, project_id, owner_id, stack_id, status, release_id, force_https, sticky_session, router_logs,
	created_at, updated_at, last_deployed_at, last_deployed_by FROM apps`

func scanApp(r scanner) (a platform.App, err error) {
	var created, updated, deployed int64
	err = r.Scan(&a.ID, &a.Name, &a.ProjectID, &a.OwnerID, &a.StackID, &a.Status, &a.ReleaseID, &a.ForceHTTPS, &a.StickySession, &a.RouterLogs,
		&created, &updated, &deployed, &a.LastDeployedBy)
	a.CreatedAt, a.UpdatedAt, a.LastDeployedAt = unstamp(created), unstamp(updated), unstamp(deployed)
	return a, err
}

func oneApp(ctx context.Context, q querier, where string, args ...any) (platform.App, error) {
	a, err := scanApp(q.QueryRowContext(ctx, selectApp+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return a, platform.NotFound("app", "there is no app of yours with that name; list your apps to see them")
	}
	return a, err
}

// appEvent adds an event with the app's and project's names as they are now.
func (s *Store) appEvent(ctx context.Context, tx *sql.Tx, kind, userID, appID string, data map[string]any) error {
	a, err := oneApp(ctx, tx, " WHERE id = ?", appID)
	if err != nil {
		return err
	}
	p, err := oneProject(ctx, tx, " WHERE p.id = ?", a.ProjectID)
	if err != nil {
		return err
	}
	return s.insertEvent(ctx, tx, platform.Event{Type: kind, UserID: userID, AppID: a.ID, AppName: a.Name,
		ProjectID: p.ID, ProjectName: p.Name, Data: data})
}
