package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) policyModeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mode open|dry-run|deny",
		Short: "Say what happens to connections that no rule allows",
		Long: `Say what happens to connections inside the project's private network that no
rule allows: open and dry-run let them pass, dry-run counts them for
` + "`atoll policy`" + `, deny refuses them. It takes effect on the next packet, also on
connections that are open; nothing is restarted.

` + projectHelp,
		Example: `  atoll policy mode dry-run --project shop
  atoll policy mode deny -a shop-web`,
		Args: arguments("MODE"),
		RunE: t.policyMode,
	}
	t.addProject(cmd)
	addJSON(cmd)
	t.completeArgs(cmd, 1, func(context.Context, *client.Client, *cobra.Command) []string {
		return []string{string(platform.PolicyOpen), string(platform.PolicyDryRun), string(platform.PolicyDeny)}
	})
	return cmd
}

func (t *tool) policyMode(cmd *cobra.Command, args []string) error {
	if _, err := platform.ParsePolicyMode(args[0]); err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	project, err := t.project(cmd, c)
	if err != nil {
		return err
	}
	policy, err := c.SetPolicyMode(cmd.Context(), project.ID, args[0])
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), policy)
	}
	note(cmd, "The policy of the project %s is %s now: %s.", project.Name, policy.Mode, modeMeans[policy.Mode])
	if policy.Mode == string(platform.PolicyDeny) && len(policy.Rules) == 0 {
		note(cmd, "There are no rules, so its containers do not reach each other at all; `atoll policy allow` adds one.")
	}
	warnOfPolicy(cmd, policy)
	return nil
}
