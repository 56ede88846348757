package cli

import (
	"strconv"

	"github.com/spf13/cobra"
)

func (t *tool) dropsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drops",
		Short: "Show what a project's private network refused to deliver",
		Long: `Show what the private network of a project refused to deliver: from which
container, to which address, for which reason, how often. What a policy refused
is here under its reason, and in ` + "`atoll flows`" + ` with the port.

Common reasons: arp-unknown and unknown-destination (no container has the
address, for instance because it was kept from a DNS answer for too long), policy
(no rule allows it), broadcast and multicast (which private networks do not
carry), ipv6 (they are IPv4 only), spoofed-ip (sent with another's address).

` + projectHelp,
		Example: `  atoll drops --project shop
  atoll drops --json -a shop-web`,
		Args: arguments(),
		RunE: t.drops,
	}
	t.addProject(cmd)
	addJSON(cmd)
	return cmd
}

func (t *tool) drops(cmd *cobra.Command, _ []string) error {
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	project, err := t.project(cmd, c)
	if err != nil {
		return err
	}
	drops, err := c.Drops(cmd.Context(), project.ID)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), list(drops))
	}
	if len(drops) == 0 {
		note(cmd, "Nothing was dropped in the private network of the project %s.", project.Name)
		return nil
	}
	out := table{head: []string{"REASON", "FROM", "TO", "COUNT", "LAST SEEN"}}
	for _, d := range drops {
		out.add(d.Reason, d.From.Name, d.To.Name, strconv.FormatUint(d.Count, 10), when(d.LastSeen))
	}
	return out.print(cmd.OutOrStdout())
}
