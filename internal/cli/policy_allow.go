package cli

import (
	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) policyAllowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "allow RULE",
		Short: "Add a rule to a policy",
		Long: `Add a rule to the policy of a project, as one argument in quotes:

    APP:TYPE -> APP:TYPE PORT

It lets containers of the left process type open connections to those of the
right one, on that port; answers always pass. APP is the name of an app of the
project, TYPE a process type (or one-off, cron, postdeploy); * stands for every
one, also for those that come later. PORT is 3000 or 3000/tcp, 53/udp, */tcp,
*/udp, icmp, or * for everything. Rules follow their apps when these are
renamed, and go with them.

` + projectHelp,
		Example: `  atoll policy allow "shop-web:web -> catalog:api 3000/tcp" --project shop
  atoll policy allow "*:* -> postgres:db 5432" -a shop-web
  atoll policy allow "shop-web:cron -> *:* *" -a shop-web --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				// A shell took the arrow for a redirection.
				return usage("the rule must be one argument, in quotes: %q", "APP:TYPE -> APP:TYPE PORT")
			}
			return arguments("RULE")(cmd, args)
		},
		RunE: t.policyAllow,
	}
	t.addProject(cmd)
	addJSON(cmd)
	return cmd
}

func (t *tool) policyAllow(cmd *cobra.Command, args []string) error {
	rule, err := platform.ParseRule(args[0])
	if err != nil {
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
	added, err := c.AddRule(cmd.Context(), project.ID, rule.String())
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), added)
	}
	note(cmd, "Allowed in the project %s: %s", project.Name, added.Rule)
	policy, err := c.Policy(cmd.Context(), project.ID)
	if err != nil {
		return err
	}
	if policy.Mode != string(platform.PolicyDeny) {
		note(cmd, "The mode is %s, so everything passes anyway; `atoll policy mode deny%s` makes the rules count.", policy.Mode, t.projectOption(cmd))
	}
	return nil
}
