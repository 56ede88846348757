package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// Stack is a pair of base images (run and build) apps are made on.
type Stack struct {
	ID          string
	Name        string
	Description string
	// BaseImage is the engine's reference of the run image.
	BaseImage string
	Default   bool
	CreatedAt time.Time
}

// EnsureStack adds the stack named s.Name, or updates its description and
// image, and returns it with its id. A default stack replaces the old one.
func (s *Store) EnsureStack(ctx context.Context, st Stack) (Stack, error) {
	err := s.write(ctx, func(tx *sql.Tx) error {
		if st.Default {
			if _, err := tx.ExecContext(ctx, "UPDATE stacks SET is_default = 0"); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO stacks (id, name, description, base_image, is_default, created_at) VALUES (?,?,?,?,?,?)
			ON CONFLICT (name) DO UPDATE SET description = excluded.description, base_image = excluded.base_image, is_default = excluded.is_default`,
			platform.NewStackID(), st.Name, st.Description, st.BaseImage, st.Default, stamp(s.now()))
		if err != nil {
			return fmt.Errorf("cannot add stack %s: %w", st.Name, err)
		}
		st, err = scanStack(tx.QueryRowContext(ctx, selectStack+" WHERE name = ?", st.Name))
		return err
	})
	return st, err
}

// Stacks lists the stacks, by name.
func (s *Store) Stacks(ctx context.Context) ([]Stack, error) {
	return collect(ctx, s.r, scanStack, selectStack+" ORDER BY name")
}

// StackByID finds a stack by id or name; "" means the default one.
func (s *Store) StackByID(ctx context.Context, id string) (Stack, error) {
	return stack(ctx, s.r, id)
}

// Private

const selectStack = "SELECT id, name, description, base_image, is_default, created_at FROM stacks"

func stack(ctx context.Context, q querier, id string) (Stack, error) {
	st, err := scanStack(q.QueryRowContext(ctx, selectStack+" WHERE id = ?1 OR name = ?1 OR (?1 = '' AND is_default = 1)", id))
	if errors.Is(err, sql.ErrNoRows) {
		return st, platform.Invalid("stack_id", "there is no stack %q; list the stacks to see what there is", id)
	}
	return st, err
}

func scanStack(r scanner) (st Stack, err error) {
	var created int64
	err = r.Scan(&st.ID, &st.Name, &st.Description, &st.BaseImage, &st.Default, &created)
	st.CreatedAt = unstamp(created)
	return st, err
}
