package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/atollhq/atoll/internal/platform"
)

// CreateProject adds a project with its private network.
func (s *Store) CreateProject(ctx context.Context, owner platform.User, name string, isDefault bool) (platform.Project, error) {
	var p platform.Project
	if err := platform.ValidateProjectName(name); err != nil {
		return p, err
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM projects WHERE owner_id = ?", owner.ID).Scan(&n); err != nil {
			return err
		}
		if n >= platform.MaxProjects {
			return platform.Invalid("project", "you own %d projects, which is the limit; remove one first", n)
		}
		var err error
		p, err = s.insertProject(ctx, tx, owner, name, isDefault)
		return err
	})
	return p, err
}

// Projects lists the projects a user owns, by name.
func (s *Store) Projects(ctx context.Context, userID string) ([]platform.Project, error) {
	return collect(ctx, s.r, scanProject, selectProject+" WHERE p.owner_id = ? ORDER BY p.name", userID)
}

// AllProjects lists every project.
func (s *Store) AllProjects(ctx context.Context) ([]platform.Project, error) {
	return collect(ctx, s.r, scanProject, selectProject+" ORDER BY p.created_at")
}

// Project finds a project of a user by id.
func (s *Store) Project(ctx context.Context, userID, id string) (platform.Project, error) {
	return oneProject(ctx, s.r, " WHERE p.id = ? AND p.owner_id = ?", id, userID)
}

// ProjectByID finds a project whoever owns it.
func (s *Store) ProjectByID(ctx context.Context, id string) (platform.Project, error) {
	return oneProject(ctx, s.r, " WHERE p.id = ?", id)
}

// DefaultProject finds the project that apps of a user go to when none is
// named.
func (s *Store) DefaultProject(ctx context.Context, userID string) (platform.Project, error) {
	return oneProject(ctx, s.r, " WHERE p.owner_id = ? AND p.is_default = 1", userID)
}

// UpdateProject renames a project (name not nil) and makes it the default
// one; it can never be made not the default (PJ-1).
func (s *Store) UpdateProject(ctx context.Context, user platform.User, id string, name *string, makeDefault bool) (platform.Project, error) {
	var p platform.Project
	err := s.write(ctx, func(tx *sql.Tx) error {
		var err error
		if p, err = oneProject(ctx, tx, " WHERE p.id = ? AND p.owner_id = ?", id, user.ID); err != nil {
			return err
		}
		var changes []map[string]string
		if name != nil && *name != p.Name {
			if err := platform.ValidateProjectName(*name); err != nil {
				return err
			}
			changes = append(changes, map[string]string{"name": "name", "value": *name, "old_value": p.Name})
			p.Name = *name
		}
		if makeDefault && !p.Default {
			if _, err := tx.ExecContext(ctx, "UPDATE projects SET is_default = 0 WHERE owner_id = ?", user.ID); err != nil {
				return err
			}
			changes = append(changes, map[string]string{"name": "default", "value": "true", "old_value": "false"})
			p.Default = true
		}
		if len(changes) == 0 {
			return nil
		}
		p.UpdatedAt = s.now()
		_, err = tx.ExecContext(ctx, "UPDATE projects SET name = ?, is_default = ?, updated_at = ? WHERE id = ?", p.Name, p.Default, stamp(p.UpdatedAt), p.ID)
		if isUnique(err) {
			return platform.Invalid("name", "you have a project %q already", p.Name)
		}
		if err != nil {
			return err
		}
		return s.insertEvent(ctx, tx, projectEvent("edit_project", user, p, map[string]any{"updated_values": changes}))
	})
	return p, err
}

// DeleteProject removes an empty project that is not the default one (PJ-5).
func (s *Store) DeleteProject(ctx context.Context, user platform.User, id string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		p, err := oneProject(ctx, tx, " WHERE p.id = ? AND p.owner_id = ?", id, user.ID)
		if err != nil {
			return err
		}
		var apps int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM apps WHERE project_id = ?", id).Scan(&apps); err != nil {
			return err
		}
		switch {
		case p.Default:
			return platform.Conflict("project %s is the default project; make another one the default first", p.Name)
		case apps > 0:
			return platform.Conflict("project %s still has %d app(s); destroy them first", p.Name, apps)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM projects WHERE id = ?", id); err != nil {
			return err
		}
		return s.insertEvent(ctx, tx, projectEvent("delete_project", user, p, map[string]any{"project_id": p.ID}))
	})
}

// Private

const selectProject = `SELECT p.id, p.name, p.owner_id, p.is_default, n.id, n.key, p.created_at, p.updated_at
	FROM projects p JOIN networks n ON n.key = p.network_key`

func scanProject(r scanner) (p platform.Project, err error) {
	var created, updated int64
	err = r.Scan(&p.ID, &p.Name, &p.OwnerID, &p.Default, &p.Network.ID, &p.Network.Key, &created, &updated)
	p.CreatedAt, p.UpdatedAt = unstamp(created), unstamp(updated)
	return p, err
}

func oneProject(ctx context.Context, q querier, where string, args ...any) (platform.Project, error) {
	p, err := scanProject(q.QueryRowContext(ctx, selectProject+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return p, platform.NotFound("project", "no such project; list yours to see the ids")
	}
	return p, err
}

func (s *Store) insertProject(ctx context.Context, tx *sql.Tx, owner platform.User, name string, isDefault bool) (platform.Project, error) {
	now := s.now()
	p := platform.Project{ID: platform.NewProjectID(), Name: name, Default: isDefault, OwnerID: owner.ID,
		Network: platform.PrivateNetwork{ID: platform.NewNetworkID()}, CreatedAt: now, UpdatedAt: now}
	if isDefault {
		if _, err := tx.ExecContext(ctx, "UPDATE projects SET is_default = 0 WHERE owner_id = ?", owner.ID); err != nil {
			return p, err
		}
	}
	res, err := tx.ExecContext(ctx, "INSERT INTO networks (id) VALUES (?)", p.Network.ID)
	if err != nil {
		return p, fmt.Errorf("cannot add a private network: %w", err)
	}
	key, err := res.LastInsertId()
	if err != nil {
		return p, err
	}
	p.Network.Key = uint32(key)
	_, err = tx.ExecContext(ctx, `INSERT INTO projects (id, name, owner_id, is_default, network_key, created_at, updated_at) VALUES (?,?,?,?,?,?,?)`,
		p.ID, p.Name, p.OwnerID, p.Default, key, stamp(now), stamp(now))
	if isUnique(err) {
		return p, platform.Invalid("name", "you have a project %q already", name)
	}
	if err != nil {
		return p, fmt.Errorf("cannot add project %s: %w", name, err)
	}
	return p, s.insertEvent(ctx, tx, projectEvent("new_project", owner, p, map[string]any{"default": isDefault}))
}

func projectEvent(kind string, user platform.User, p platform.Project, data map[string]any) platform.Event {
	return platform.Event{Type: kind, UserID: user.ID, ProjectID: p.ID, ProjectName: p.Name, Data: data}
}
