package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show who may reach whom in a project's private network",
		Long: `Show who may reach whom inside the private network of a project: the mode, the
rules, and what no rule allows although it is being tried.

At first the mode is open: every container of the project reaches every other.
In mode deny only what a rule allows passes; in mode dry-run everything passes,
and what deny would refuse is counted and shown here, the latest 500 of the last
35 days. A change takes effect on the next packet; nothing is restarted.
Subcommands mode, allow and remove change the policy.

` + projectHelp,
		Example: `  atoll policy --project shop
  atoll policy mode dry-run --project shop
  atoll policy allow "shop-web:web -> catalog:api 3000/tcp" --project shop
  atoll policy mode deny --project shop
  atoll policy --json -a shop-web`,
		Args: arguments(),
		RunE: t.policy,
	}
	t.addProject(cmd)
	addJSON(cmd)
	cmd.AddCommand(t.policyModeCommand(), t.policyAllowCommand(), t.policyRemoveCommand())
	return cmd
}

var modeMeans = map[string]string{
	"open":    "everything passes",
	"dry-run": "everything passes; what no rule allows is counted",
	"deny":    "only what a rule allows passes",
}

func (t *tool) policy(cmd *cobra.Command, _ []string) error {
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
	listed, err := c.Refusals(cmd.Context(), project.ID)
	if err != nil {
		return err
	}
	refused := refusalsOf(listed)
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), map[string]any{"project": project.Name, "mode": policy.Mode, "rules": list(policy.Rules), "warning": policy.Warning,
			"refused": list(refused.rules), "refused_port_unknown": refused.portUnknown, "refused_other_protocols": refused.otherProtocols})
	}
	out := cmd.OutOrStdout()
	mode := policy.Mode
	if means := modeMeans[mode]; means != "" {
		mode += " (" + means + ")"
	}
	if err := facts(out, "Project", project.Name, "Mode", mode); err != nil {
		return err
	}
	if err := printRules(cmd, policy); err != nil {
		return err
	}
	warnOfPolicy(cmd, policy)
	return printRefusals(cmd, policy, refused)
}

// warnOfPolicy says what the network does not do of a policy.
func warnOfPolicy(cmd *cobra.Command, policy client.Policy) {
	if policy.Warning != "" {
		note(cmd, "Warning: %s.", policy.Warning)
	}
}

func printRules(cmd *cobra.Command, policy client.Policy) error {
	if len(policy.Rules) == 0 {
		note(cmd, "There are no rules.")
		return nil
	}
	short := shortIDs(policy.Rules)
	rules := table{head: []string{"ID", "RULE"}}
	for i, r := range policy.Rules {
		rules.add(short[i], r.Rule)
	}
	return rules.printBelow(cmd.OutOrStdout())
}

func printRefusals(cmd *cobra.Command, policy client.Policy, refused refusals) error {
	head := "REFUSED, THERE IS NO RULE"
	if policy.Mode == "dry-run" {
		head = "WOULD BE REFUSED, THERE IS NO RULE"
	}
	if len(refused.rules) > 0 {
		out := table{head: []string{head, "PACKETS", "LAST SEEN"}}
		for _, r := range refused.rules {
			out.add(r.Rule, strconv.FormatUint(r.Packets, 10), when(r.LastSeen))
		}
		if err := out.printBelow(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	if refused.portUnknown > 0 {
		note(cmd, "And %s whose port is not known: of a scan of many ports, or of fragments. No rule is meant for them.", packets(refused.portUnknown))
	}
	if refused.otherProtocols > 0 {
		note(cmd, "And %s of other protocols than TCP, UDP and ICMP, which only a rule for everything (*) allows.", packets(refused.otherProtocols))
	}
	return nil
}

// refusals are what no rule allows. What no rule could be about is counted
// only: a rule in its place would open everything.
type refusals struct {
	rules                       []refusal
	portUnknown, otherProtocols uint64
}

// refusal is what no rule allows, as the rule that would allow it.
type refusal struct {
	Rule     string    `json:"rule"`
	Packets  uint64    `json:"packets"`
	LastSeen time.Time `json:"last_seen"`
}

func refusalsOf(listed []client.Refusal) (out refusals) {
	for _, r := range listed {
		switch {
		case r.Rule != "":
			out.rules = append(out.rules, refusal{r.Rule, r.Packets, r.LastSeen})
		case r.PortKnown:
			out.otherProtocols += r.Packets
		default:
			out.portUnknown += r.Packets
		}
	}
	return out
}

// minShortID is how much of a rule's id is shown at least.
const minShortID = 8

// shortIDs cuts ids to as much as tells them apart.
func shortIDs(rules []client.Rule) []string {
	for n := minShortID; ; n++ {
		seen := map[string]bool{}
		short := make([]string, len(rules))
		for i, r := range rules {
			short[i] = r.ID[:min(n, len(r.ID))]
			seen[strings.ToLower(short[i])] = true
		}
		if len(seen) == len(rules) || n > 64 {
			return short
		}
	}
}
