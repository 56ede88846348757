package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/atollhq/atoll/internal/platform"
)

// Policy returns the policy of a project, its rules in the order they were
// added, with the names that apps have now.
func (s *Store) Policy(ctx context.Context, projectID string) (platform.Policy, error) {
	return policy(ctx, s.r, projectID)
}

// SetPolicyMode changes what the private network of a user's project does
// with connections that no rule allows.
func (s *Store) SetPolicyMode(ctx context.Context, user platform.User, projectID string, mode platform.PolicyMode) error {
	if _, err := platform.ParsePolicyMode(string(mode)); err != nil {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		p, err := oneProject(ctx, tx, " WHERE p.id = ? AND p.owner_id = ?", projectID, user.ID)
		if err != nil {
			return err
		}
		var old platform.PolicyMode
		if err := tx.QueryRowContext(ctx, "SELECT policy_mode FROM projects WHERE id = ?", projectID).Scan(&old); err != nil {
			return err
		}
		if old == mode {
			return nil
		}
		if _, err := tx.ExecContext(ctx, "UPDATE projects SET policy_mode = ?, updated_at = ? WHERE id = ?", mode, stamp(s.now()), projectID); err != nil {
			return err
		}
		return s.insertEvent(ctx, tx, projectEvent("edit_policy", user, p, map[string]any{"mode": mode, "old_mode": old}))
	})
}

// The events that tell whether the network takes a whole policy.
const (
	EventPolicyTooLarge = "policy_too_large"
	EventPolicyFits     = "policy_fits_again"
)

// NotePolicyPairs records how many pairs of process types the rules of a
// project stand for while that is more than the network takes, else 0, with an
// event when the one becomes the other. A project that is gone is no error.
func (s *Store) NotePolicyPairs(ctx context.Context, projectID string, pairs int) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		var old int
		p, err := scanProject(tx.QueryRowContext(ctx, selectProject+" WHERE p.id = ?", projectID))
		if err == nil {
			err = tx.QueryRowContext(ctx, "SELECT policy_pairs FROM projects WHERE id = ?", projectID).Scan(&old)
		}
		if errors.Is(err, sql.ErrNoRows) || err == nil && old == pairs {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot find project %s: %w", projectID, err)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE projects SET policy_pairs = ? WHERE id = ?", pairs, projectID); err != nil {
			return fmt.Errorf("cannot note the size of a policy: %w", err)
		}
		if old != 0 && pairs != 0 {
			return nil
		}
		owner, data := platform.User{ID: p.OwnerID}, map[string]any{"limit": platform.MaxPairs}
		if pairs == 0 {
			return s.insertEvent(ctx, tx, projectEvent(EventPolicyFits, owner, p, data))
		}
		data["pairs"], data["warning"] = pairs, platform.Policy{Pairs: pairs}.Warning()
		return s.insertEvent(ctx, tx, projectEvent(EventPolicyTooLarge, owner, p, data))
	})
}

// AddRule adds a rule to the policy of a user's project and returns it as it
// is stored. Its apps are found by name or id among those of the project.
func (s *Store) AddRule(ctx context.Context, user platform.User, projectID string, r platform.Rule) (platform.Rule, error) {
	err := s.write(ctx, func(tx *sql.Tx) error {
		p, err := oneProject(ctx, tx, " WHERE p.id = ? AND p.owner_id = ?", projectID, user.ID)
		if err != nil {
			return err
		}
		if r, err = resolveRule(ctx, tx, p, r); err != nil {
			return err
		}
		var rules int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM policy_rules WHERE project_id = ?", projectID).Scan(&rules); err != nil {
			return err
		}
		if rules >= platform.MaxRules {
			return platform.Conflict("the policy has %d rules, which is the limit; remove one first, or say several with one by *", rules)
		}
		r.ID, r.CreatedAt = platform.NewID(), s.now()
		_, err = tx.ExecContext(ctx, `INSERT INTO policy_rules (id, project_id, from_app, from_type, to_app, to_type, protocol, port, created_at)
			VALUES (?,?,nullif(?,''),?,nullif(?,''),?,?,?,?)`, r.ID, projectID, r.From.AppID, r.From.Type, r.To.AppID, r.To.Type,
			r.Service.Protocol, r.Service.Port, stamp(r.CreatedAt))
		if isUnique(err) {
			return platform.Conflict("the policy has the rule %q already", r)
		}
		if err != nil {
			return fmt.Errorf("cannot add rule %q: %w", r, err)
		}
		return s.insertEvent(ctx, tx, projectEvent("new_policy_rule", user, p, ruleData(r)))
	})
	return r, err
}

// ResolveRule returns the rule with the ids and names of the apps it names,
// which must be of the user's project.
func (s *Store) ResolveRule(ctx context.Context, user platform.User, projectID string, r platform.Rule) (platform.Rule, error) {
	p, err := oneProject(ctx, s.r, " WHERE p.id = ? AND p.owner_id = ?", projectID, user.ID)
	if err != nil {
		return r, err
	}
	return resolveRule(ctx, s.r, p, r)
}

// DeleteRule removes a rule from the policy of a user's project.
func (s *Store) DeleteRule(ctx context.Context, user platform.User, projectID, ruleID string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		p, err := oneProject(ctx, tx, " WHERE p.id = ? AND p.owner_id = ?", projectID, user.ID)
		if err != nil {
			return err
		}
		r, err := scanRule(tx.QueryRowContext(ctx, selectRule+" WHERE r.id = ? AND r.project_id = ?", ruleID, projectID))
		if errors.Is(err, sql.ErrNoRows) {
			return platform.NotFound("rule", "the policy has no such rule; show the policy to see the ids")
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM policy_rules WHERE id = ?", ruleID); err != nil {
			return err
		}
		return s.insertEvent(ctx, tx, projectEvent("delete_policy_rule", user, p, ruleData(r)))
	})
}

// Private

const selectRule = `SELECT r.id, coalesce(r.from_app, ''), coalesce(f.name, ''), r.from_type, coalesce(r.to_app, ''), coalesce(t.name, ''), r.to_type,
	r.protocol, r.port, r.created_at FROM policy_rules r LEFT JOIN apps f ON f.id = r.from_app LEFT JOIN apps t ON t.id = r.to_app`

func scanRule(row scanner) (r platform.Rule, err error) {
	var created int64
	err = row.Scan(&r.ID, &r.From.AppID, &r.From.App, &r.From.Type, &r.To.AppID, &r.To.App, &r.To.Type, &r.Service.Protocol, &r.Service.Port, &created)
	r.CreatedAt = unstamp(created)
	return r, err
}

func policy(ctx context.Context, q querier, projectID string) (p platform.Policy, err error) {
	err = q.QueryRowContext(ctx, "SELECT policy_mode, policy_pairs FROM projects WHERE id = ?", projectID).Scan(&p.Mode, &p.Pairs)
	if errors.Is(err, sql.ErrNoRows) {
		return p, platform.NotFound("project", "no such project; list yours to see the ids")
	}
	if err != nil {
		return p, err
	}
	p.Rules, err = collect(ctx, q, scanRule, selectRule+" WHERE r.project_id = ? ORDER BY r.rowid", projectID)
	return p, err
}

func ruleData(r platform.Rule) map[string]any {
	return map[string]any{"rule_id": r.ID, "rule": r.String()}
}

func resolveRule(ctx context.Context, q querier, p platform.Project, r platform.Rule) (platform.Rule, error) {
	for _, end := range []*platform.Party{&r.From, &r.To} {
		if err := resolveParty(ctx, q, p, end); err != nil {
			return r, err
		}
	}
	return r, nil
}

// resolveParty finds the app that the end of a rule names. An id wins over a
// name: an app may be called like the id of another.
func resolveParty(ctx context.Context, q querier, project platform.Project, end *platform.Party) error {
	named := end.AppID
	if named == "" {
		named = end.App
	}
	if named == "" {
		return nil
	}
	err := q.QueryRowContext(ctx, "SELECT id, name FROM apps WHERE project_id = ?1 AND (id = ?2 OR name = ?2) ORDER BY id = ?2 DESC", project.ID, named).Scan(&end.AppID, &end.App)
	if errors.Is(err, sql.ErrNoRows) {
		return platform.Invalid("rule", "the project %s has no app %q; rules are about the apps of one project, list yours to see them", project.Name, named)
	}
	return err
}

// deleteRulesOf removes the rules that name an app which is about to go.
func (s *Store) deleteRulesOf(ctx context.Context, tx *sql.Tx, user platform.User, appID string) error {
	a, err := oneApp(ctx, tx, " WHERE id = ?", appID)
	if err != nil {
		return err
	}
	p, err := oneProject(ctx, tx, " WHERE p.id = ?", a.ProjectID)
	if err != nil {
		return err
	}
	rules, err := collect(ctx, tx, scanRule, selectRule+" WHERE r.from_app = ?1 OR r.to_app = ?1 ORDER BY r.rowid", appID)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if _, err := tx.ExecContext(ctx, "DELETE FROM policy_rules WHERE id = ?", r.ID); err != nil {
			return err
		}
		if err := s.insertEvent(ctx, tx, projectEvent("delete_policy_rule", user, p, ruleData(r))); err != nil {
			return err
		}
	}
	return nil
}
