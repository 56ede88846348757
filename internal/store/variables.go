package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/atollhq/atoll/internal/platform"
)

// Variables lists the variables of an app as written (aliases not resolved),
// by name.
func (s *Store) Variables(ctx context.Context, appID string) ([]platform.Variable, error) {
	return collect(ctx, s.r, scanVariable, selectVariable+" WHERE app_id = ? ORDER BY name", appID)
}

// SetVariables adds or changes variables, all or none; others stay. It
// returns the ones that were given, with their ids.
func (s *Store) SetVariables(ctx context.Context, user platform.User, appID string, vars []platform.Variable) ([]platform.Variable, error) {
	for _, v := range vars {
		if err := platform.ValidateVariable(v.Name, v.Value); err != nil {
			return nil, err
		}
	}
	out := make([]platform.Variable, 0, len(vars))
	err := s.write(ctx, func(tx *sql.Tx) error {
		var added, updated []map[string]string
		for _, v := range vars {
			old, err := scanVariable(tx.QueryRowContext(ctx, selectVariable+" WHERE app_id = ? AND name = ?", appID, v.Name))
			switch {
			case errors.Is(err, sql.ErrNoRows):
				old = platform.Variable{ID: platform.NewID(), AppID: appID, Name: v.Name}
				added = append(added, map[string]string{"name": v.Name, "value": v.Value})
			case err != nil:
				return err
			default:
				updated = append(updated, map[string]string{"name": v.Name, "value": v.Value, "old_value": old.Value})
			}
			old.Value = v.Value
			if _, err := tx.ExecContext(ctx, `INSERT INTO variables (id, app_id, name, value) VALUES (?,?,?,?)
				ON CONFLICT (app_id, name) DO UPDATE SET value = excluded.value`, old.ID, appID, v.Name, v.Value); err != nil {
				return fmt.Errorf("cannot set variable %s: %w", v.Name, err)
			}
			out = append(out, old)
		}
		return s.appEvent(ctx, tx, "edit_variables", user.ID, appID,
			map[string]any{"new_vars": added, "updated_vars": updated, "deleted_vars": []map[string]string{}})
	})
	return out, err
}

// DeleteVariable removes a variable by id.
func (s *Store) DeleteVariable(ctx context.Context, user platform.User, appID, id string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		v, err := scanVariable(tx.QueryRowContext(ctx, selectVariable+" WHERE app_id = ? AND id = ?", appID, id))
		if errors.Is(err, sql.ErrNoRows) {
			return platform.NotFound("variable", "the app has no such variable")
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM variables WHERE id = ?", id); err != nil {
			return err
		}
		return s.appEvent(ctx, tx, "delete_variable", user.ID, appID, map[string]any{"name": v.Name, "value": v.Value})
	})
}

// Private

const selectVariable = "SELECT id, app_id, name, value FROM variables"

func scanVariable(r scanner) (v platform.Variable, err error) {
	err = r.Scan(&v.ID, &v.AppID, &v.Name, &v.Value)
	return v, err
}
