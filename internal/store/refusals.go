package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/atollhq/atoll/internal/platform"
)

// RestrictedProjects lists the projects whose policy is not open.
func (s *Store) RestrictedProjects(ctx context.Context) ([]platform.Project, error) {
	return collect(ctx, s.r, scanProject, selectProject+" WHERE p.policy_mode != ? ORDER BY n.key", platform.PolicyOpen)
}

// Refusals returns what is kept of a project's refusals, with the names that
// apps have now.
func (s *Store) Refusals(ctx context.Context, projectID string) ([]platform.Refusal, error) {
	return collect(ctx, s.r, scanRefusal, `SELECT f.id, f.name, r.from_type, t.id, t.name, r.to_type, r.protocol, r.port, r.verdict, r.packets, r.last_seen
		FROM apps f JOIN refusals r ON r.from_app = f.id JOIN apps t ON t.id = r.to_app WHERE f.project_id = ?`, projectID)
}

// KeepRefusals adds or replaces some refusals and forgets others. Those of apps
// that are gone, or not of one project, are left out.
func (s *Store) KeepRefusals(ctx context.Context, changed, forgotten []platform.Refusal) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		put, err := tx.PrepareContext(ctx, `INSERT INTO refusals (from_app, from_type, to_app, to_type, protocol, port, verdict, packets, last_seen)
			SELECT f.id, ?2, t.id, ?4, ?5, ?6, ?7, ?8, ?9 FROM apps f JOIN apps t ON t.project_id = f.project_id WHERE f.id = ?1 AND t.id = ?3
			ON CONFLICT DO UPDATE SET packets = excluded.packets, last_seen = excluded.last_seen`)
		if err != nil {
			return fmt.Errorf("cannot keep refusals: %w", err)
		}
		defer put.Close()
		forget, err := tx.PrepareContext(ctx, `DELETE FROM refusals
			WHERE from_app = ? AND from_type = ? AND to_app = ? AND to_type = ? AND protocol = ? AND port = ? AND verdict = ?`)
		if err != nil {
			return fmt.Errorf("cannot forget refusals: %w", err)
		}
		defer forget.Close()
		key := func(r platform.Refusal) []any {
			return []any{r.From.AppID, r.From.Type, r.To.AppID, r.To.Type, r.Service.Protocol, r.Service.Port, r.Verdict}
		}
		for _, r := range forgotten {
			if _, err := forget.ExecContext(ctx, key(r)...); err != nil {
				return fmt.Errorf("cannot forget a refusal: %w", err)
			}
		}
		for _, r := range changed {
			if _, err := put.ExecContext(ctx, append(key(r), int64(r.Packets), stamp(r.LastSeen))...); err != nil {
				return fmt.Errorf("cannot keep a refusal: %w", err)
			}
		}
		return nil
	})
}

// Private

func scanRefusal(row scanner) (r platform.Refusal, err error) {
	var seen int64
	err = row.Scan(&r.From.AppID, &r.From.App, &r.From.Type, &r.To.AppID, &r.To.App, &r.To.Type, &r.Service.Protocol, &r.Service.Port, &r.Verdict, &r.Packets, &seen)
	r.LastSeen = unstamp(seen)
	return r, err
}
