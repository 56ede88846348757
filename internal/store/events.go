package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/atollhq/atoll/internal/platform"
)

// Page asks for a part of a long list.
type Page struct {
	// Number counts from 1; PerPage is at least 1.
	Number  int
	PerPage int
}

func (p Page) offset() int { return (max(p.Number, 1) - 1) * max(p.PerPage, 1) }

// AppEvents lists the events of an app, newest first, and how many there are.
func (s *Store) AppEvents(ctx context.Context, appID string, p Page) ([]platform.Event, int, error) {
	return s.events(ctx, "app_id = ?", appID, p)
}

// UserEvents lists the events a user caused, newest first, and how many
// there are.
func (s *Store) UserEvents(ctx context.Context, userID string, p Page) ([]platform.Event, int, error) {
	return s.events(ctx, "user_id = ?", userID, p)
}

// AddNetworkEvent notes something that happened to private networks, for the
// owners of their projects; for every user when it is about none in
// particular, or about networks of which no project is known.
func (s *Store) AddNetworkEvent(ctx context.Context, kind string, networkIDs []string, data map[string]any) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		owners := 0
		projects, err := collect(ctx, tx, scanProject, selectProject)
		if err != nil {
			return err
		}
		for _, p := range projects {
			if !slices.Contains(networkIDs, p.Network.ID) {
				continue
			}
			owners++
			if err := s.insertEvent(ctx, tx, projectEvent(kind, platform.User{ID: p.OwnerID}, p, data)); err != nil {
				return err
			}
		}
		if owners > 0 {
			return nil
		}
		users, err := collect(ctx, tx, scanID, "SELECT id FROM users")
		if err != nil {
			return err
		}
		for _, id := range users {
			if err := s.insertEvent(ctx, tx, platform.Event{Type: kind, UserID: id, Data: data}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Private

func scanID(r scanner) (id string, err error) { return id, r.Scan(&id) }

func (s *Store) events(ctx context.Context, where, arg string, p Page) ([]platform.Event, int, error) {
	var total int
	if err := s.r.QueryRowContext(ctx, "SELECT count(*) FROM events WHERE "+where, arg).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("cannot count events: %w", err)
	}
	events, err := collect(ctx, s.r, scanEvent, `SELECT id, type, user_id, project_id, project_name, app_id, app_name, data, created_at
		FROM events WHERE `+where+` ORDER BY seq DESC LIMIT ? OFFSET ?`, arg, max(p.PerPage, 1), p.offset())
	return events, total, err
}

func scanEvent(r scanner) (e platform.Event, err error) {
	var data string
	var created int64
	if err = r.Scan(&e.ID, &e.Type, &e.UserID, &e.ProjectID, &e.ProjectName, &e.AppID, &e.AppName, &data, &created); err != nil {
		return e, err
	}
	e.CreatedAt = unstamp(created)
	return e, json.Unmarshal([]byte(data), &e.Data)
}

func (s *Store) insertEvent(ctx context.Context, tx *sql.Tx, e platform.Event) error {
	if e.Data == nil {
		e.Data = map[string]any{}
	}
	data, err := json.Marshal(e.Data)
	if err != nil {
		return fmt.Errorf("cannot encode event %s: %w", e.Type, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO events (id, type, user_id, project_id, project_name, app_id, app_name, data, created_at)
		VALUES (?,?,?,?,?,?,?,?,?)`, platform.NewID(), e.Type, e.UserID, e.ProjectID, e.ProjectName, e.AppID, e.AppName, string(data), stamp(s.now()))
	if err != nil {
		return fmt.Errorf("cannot add event %s: %w", e.Type, err)
	}
	return nil
}
