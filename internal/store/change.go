package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/atollhq/atoll/internal/platform"
)

// Change is a step of an app's desired state: all of it happens, or none.
// Zero fields change nothing.
type Change struct {
	// Types are process types to add or replace; DropTypes are removed.
	Types     []platform.ProcessType
	DropTypes []string
	// Release is added; when Current it becomes the app's release and the
	// app counts as deployed now by User.
	Release *platform.Release
	Current bool
	// Put adds or replaces workloads; with a Generation of 0 they get the
	// app's next one, the same for all of one Change. Drop removes some.
	Put  []Workload
	Drop []string
	// Deployment's status, image and error are saved; a final status ends it.
	Deployment *platform.Deployment
	// Operation is added or saved; done and error end it.
	Operation *platform.Operation
	// OneOff is added (it gets its number then; CodeConflict beyond the
	// limits) or, when it has a creation time, saved.
	OneOff *platform.OneOff
	// Jobs replaces the scheduled tasks, unless it is nil.
	Jobs   []platform.Job
	Status platform.AppStatus
	// RequireIdle refuses the change with CodeConflict while the app is
	// scaling, restarting or being deployed (FS-8).
	RequireIdle bool
	// Plan, when set, fills in the rest of the Change from what is desired
	// now. It is called within the transaction, after RequireIdle: what was
	// read before it may be the rows of a replacement that has ended since,
	// and writing them would bring them back. Its error refuses the change.
	Plan func(now Desired, c *Change) error
	// Event, EventData are the event that tells of it, caused by User.
	Event     string
	EventData map[string]any
	User      platform.User
}

// Desired is what an app is to run now.
type Desired struct {
	// Release is that of the app, nil when it was never deployed.
	Release *platform.Release
	// Types is the formation, by name; Workloads are the rows, oldest first.
	Types     []platform.ProcessType
	Workloads []Workload
}

// Commit makes a change to an app. It fills in generations, creation and
// finish times in c.
func (s *Store) Commit(ctx context.Context, appID string, c *Change) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if c.RequireIdle {
			if err := requireIdle(ctx, tx, appID); err != nil {
				return err
			}
		}
		if c.Plan != nil {
			now, err := desired(ctx, tx, appID)
			if err != nil {
				return fmt.Errorf("cannot read what app %s is to run: %w", appID, err)
			}
			if err := c.Plan(now, c); err != nil {
				return err
			}
		}
		steps := []func(context.Context, *sql.Tx, string, *Change) error{
			s.commitTypes, s.commitRelease, s.commitWorkloads, s.commitProgress, s.commitOneOff, s.commitJobs, s.commitApp,
		}
		for _, step := range steps {
			if err := step(ctx, tx, appID, c); err != nil {
				return fmt.Errorf("cannot change app %s: %w", appID, err)
			}
		}
		if c.Event == "" {
			return nil
		}
		return s.appEvent(ctx, tx, c.Event, c.User.ID, appID, c.EventData)
	})
}

// Private

// requireStill refuses while the app is scaling or restarting.
func requireStill(ctx context.Context, tx *sql.Tx, appID string) error {
	a, err := oneApp(ctx, tx, " WHERE id = ?", appID)
	if err != nil {
		return err
	}
	if a.Status == platform.AppScaling || a.Status == platform.AppRestarting {
		return platform.Conflict("the app is %s; wait for the end of that, then try again", a.Status)
	}
	return nil
}

// requireIdle refuses also while a deployment runs. Only a first deployment
// that has not looked at the formation yet leaves it free to be changed.
func requireIdle(ctx context.Context, tx *sql.Tx, appID string) error {
	if err := requireStill(ctx, tx, appID); err != nil {
		return err
	}
	var deploying int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM deployments d JOIN apps a ON a.id = d.app_id
		WHERE a.id = ? AND d.finished_at = 0 AND (a.release_id != '' OR d.status = ?)`, appID, platform.DeploymentStarting).Scan(&deploying); err != nil {
		return err
	}
	if deploying > 0 {
		return platform.Conflict("a deployment of the app is running; wait for its end, then try again")
	}
	return nil
}

func desired(ctx context.Context, tx *sql.Tx, appID string) (now Desired, err error) {
	a, err := oneApp(ctx, tx, " WHERE id = ?", appID)
	if err != nil {
		return now, err
	}
	if a.ReleaseID != "" {
		r, err := oneRelease(ctx, tx, a.ReleaseID)
		if err != nil {
			return now, err
		}
		now.Release = &r
	}
	if now.Types, err = formation(ctx, tx, appID); err != nil {
		return now, err
	}
	now.Workloads, err = workloads(ctx, tx, appID)
	return now, err
}

func (s *Store) commitTypes(ctx context.Context, tx *sql.Tx, appID string, c *Change) error {
	for _, t := range c.Types {
		t.AppID = appID
		if err := s.putProcessType(ctx, tx, t); err != nil {
			return err
		}
	}
	for _, name := range c.DropTypes {
		if _, err := tx.ExecContext(ctx, "DELETE FROM process_types WHERE app_id = ? AND name = ?", appID, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) commitRelease(ctx context.Context, tx *sql.Tx, appID string, c *Change) error {
	r := c.Release
	if r == nil {
		return nil
	}
	if r.CreatedAt.IsZero() {
		r.CreatedAt = s.now()
	}
	commands, err := json.Marshal(r.Commands)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO releases (id, app_id, deployment_id, image, image_size, version, commands, created_at) VALUES (?,?,?,?,?,?,?,?)`,
		r.ID, appID, r.DeploymentID, r.Image, r.ImageSize, r.Version, string(commands), stamp(r.CreatedAt)); err != nil {
		return err
	}
	if !c.Current {
		return nil
	}
	_, err = tx.ExecContext(ctx, "UPDATE apps SET release_id = ?, last_deployed_at = ?, last_deployed_by = ? WHERE id = ?",
		r.ID, stamp(s.now()), c.User.Username, appID)
	return err
}

func (s *Store) commitWorkloads(ctx context.Context, tx *sql.Tx, appID string, c *Change) error {
	for _, id := range c.Drop {
		if _, err := tx.ExecContext(ctx, "DELETE FROM workloads WHERE id = ? AND app_id = ?", id, appID); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(c.Put, func(w Workload) bool { return w.Generation == 0 }) {
		var next int64
		if err := tx.QueryRowContext(ctx, "UPDATE apps SET generation = generation + 1 WHERE id = ? RETURNING generation", appID).Scan(&next); err != nil {
			return err
		}
		for i := range c.Put {
			if c.Put[i].Generation == 0 {
				c.Put[i].Generation, c.Put[i].CreatedAt = next, s.now()
			}
		}
	}
	for i := range c.Put {
		w := &c.Put[i]
		w.AppID = appID
		numbers, err := json.Marshal(w.Numbers)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO workloads (id, app_id, type, generation, numbers, active, release_id, command, size, created_at)
			VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET numbers = excluded.numbers, active = excluded.active`,
			w.ID, appID, w.Type, w.Generation, string(numbers), w.Active, w.ReleaseID, w.Command, w.Size, stamp(w.CreatedAt)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) commitProgress(ctx context.Context, tx *sql.Tx, appID string, c *Change) error {
	if d := c.Deployment; d != nil {
		if d.Status.Final() && d.FinishedAt.IsZero() {
			d.FinishedAt = s.now()
		}
		if _, err := tx.ExecContext(ctx, "UPDATE deployments SET status = ?, image = ?, image_size = ?, error = ?, finished_at = ?, postdeploy_hook = ? WHERE id = ?",
			d.Status, d.Image, d.ImageSize, d.Error, stamp(d.FinishedAt), d.PostdeployHook, d.ID); err != nil {
			return err
		}
	}
	if o := c.Operation; o != nil {
		if o.CreatedAt.IsZero() {
			o.CreatedAt = s.now()
		}
		if (o.Status == platform.OperationDone || o.Status == platform.OperationError) && o.FinishedAt.IsZero() {
			o.FinishedAt = s.now()
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO operations (id, app_id, type, status, error, created_at, finished_at) VALUES (?,?,?,?,?,?,?)
			ON CONFLICT (id) DO UPDATE SET status = excluded.status, error = excluded.error, finished_at = excluded.finished_at`,
			o.ID, appID, o.Type, o.Status, o.Error, stamp(o.CreatedAt), stamp(o.FinishedAt)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) commitApp(ctx context.Context, tx *sql.Tx, appID string, c *Change) error {
	if c.Status == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, "UPDATE apps SET status = ?, updated_at = ? WHERE id = ?", c.Status, stamp(s.now()), appID)
	return err
}
