package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/atollhq/atoll/internal/platform"
)

// Group is how the node's switch knows a process type of an app: by a number
// that is never used for another one.
type Group struct {
	Key       uint32
	ProjectID string
	AppID     string
	Type      string
}

// EnsureGroup returns the key of the group of a process type of an app, a new
// one when it has none. Keys rise. Types that are not in the formation
// (one-off, cron, postdeploy) have groups too.
func (s *Store) EnsureGroup(ctx context.Context, appID, processType string) (key uint32, err error) {
	const find = "SELECT key FROM endpoint_groups WHERE app_id = ? AND type = ?"
	err = s.r.QueryRowContext(ctx, find, appID, processType).Scan(&key)
	if !errors.Is(err, sql.ErrNoRows) {
		return key, err
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO endpoint_groups (app_id, type) VALUES (?,?)", appID, processType); err != nil {
			return fmt.Errorf("cannot give process type %s of app %s a group: %w", processType, appID, err)
		}
		return tx.QueryRowContext(ctx, find, appID, processType).Scan(&key)
	})
	return key, err
}

// PolicyTable is everything that decides who may reach whom.
type PolicyTable struct {
	Projects []platform.Project
	// Policies are by project id; each project has one.
	Policies map[string]platform.Policy
	Groups   []Group
}

// PolicyTable reads all policies and groups as they are at one moment.
func (s *Store) PolicyTable(ctx context.Context) (PolicyTable, error) {
	t := PolicyTable{Policies: map[string]platform.Policy{}}
	tx, err := s.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return t, fmt.Errorf("cannot read the policies: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	if t.Projects, err = collect(ctx, tx, scanProject, selectProject+" ORDER BY n.key"); err != nil {
		return t, fmt.Errorf("cannot read the projects: %w", err)
	}
	for _, p := range t.Projects {
		if t.Policies[p.ID], err = policy(ctx, tx, p.ID); err != nil {
			return t, fmt.Errorf("cannot read the policy of project %s: %w", p.ID, err)
		}
	}
	t.Groups, err = collect(ctx, tx, scanGroup, "SELECT g.key, a.project_id, g.app_id, g.type FROM endpoint_groups g JOIN apps a ON a.id = g.app_id ORDER BY g.key")
	if err != nil {
		return t, fmt.Errorf("cannot read the groups: %w", err)
	}
	return t, nil
}

// Private

func scanGroup(r scanner) (g Group, err error) {
	err = r.Scan(&g.Key, &g.ProjectID, &g.AppID, &g.Type)
	return g, err
}
