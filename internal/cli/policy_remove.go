package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) policyRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove RULE-ID",
		Short: "Remove a rule from a policy",
		Long: `Remove a rule from the policy of a project. RULE-ID is the rule's id as
` + "`atoll policy`" + ` shows it, or its beginning if that is enough, or the whole rule
in quotes. In mode deny the next packet is refused, also on connections that are
open.

` + projectHelp,
		Example: `  atoll policy remove 3f2a9c1b --project shop
  atoll policy remove "shop-web:web -> catalog:api 3000/tcp" -a shop-web`,
		Args: arguments("RULE-ID"),
		RunE: t.policyRemove,
	}
	t.addProject(cmd)
	t.completeArgs(cmd, 1, t.ruleIDs)
	return cmd
}

func (t *tool) policyRemove(cmd *cobra.Command, args []string) error {
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	project, err := t.project(cmd, c)
	if err != nil {
		return err
	}
	policy, err := c.Policy(cmd.Context(), project.ID)
	if err != nil {
		return err
	}
	rule, err := findRule(policy.Rules, args[0], t.projectOption(cmd))
	if err != nil {
		return err
	}
	if err := c.RemoveRule(cmd.Context(), project.ID, rule.ID); err != nil {
		return err
	}
	note(cmd, "Removed from the project %s: %s", project.Name, rule.Rule)
	return nil
}

// findRule finds a rule by its text, its id, or the beginning of its id.
func findRule(rules []client.Rule, named, option string) (client.Rule, error) {
	if strings.Contains(named, "->") {
		parsed, err := platform.ParseRule(named)
		if err != nil {
			return client.Rule{}, err
		}
		named = parsed.String()
	}
	var found []client.Rule
	for _, r := range rules {
		if r.Rule == named || r.ID == named {
			return r, nil
		}
		if named != "" && strings.HasPrefix(r.ID, strings.ToLower(named)) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return client.Rule{}, fail(ExitNotFound, "`atoll policy"+option+"` shows the rules.", "the policy has no rule %q", named)
	}
	return client.Rule{}, fail(ExitUsage, "`atoll policy"+option+"` shows the rules.", "%d rules have an id that begins with %q; write more of it", len(found), named)
}

func (t *tool) ruleIDs(ctx context.Context, c *client.Client, cmd *cobra.Command) []string {
	project, err := t.project(cmd, c)
	if err != nil {
		return nil
	}
	policy, err := c.Policy(ctx, project.ID)
	if err != nil {
		return nil
	}
	short := shortIDs(policy.Rules)
	for i, r := range policy.Rules {
		short[i] += "\t" + r.Rule
	}
	return slices.Clip(short)
}
