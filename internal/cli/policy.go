package cli

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show who may reach whom in a project's private network",
		Long: `Show who may reach whom inside the private network of a project: the mode, the
rules, and what no rule allows although it is being tried.

At first the mode is open: every container of the project reaches every other.
In mode deny only what a rule allows passes; in mode dry-run everything passes,
and what deny would refuse is counted and shown here. A change takes effect on
the next packet; nothing is restarted. Subcommands mode, allow and remove change
the policy.

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
	flows, err := c.Flows(cmd.Context(), project.ID)
	if err != nil {
		return err
	}
	apps, err := c.Apps(cmd.Context())
	if err != nil {
		return err
	}
	refused := refusalsOf(policy, flows, apps)
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), map[string]any{"project": project.Name, "mode": policy.Mode, "rules": list(policy.Rules),
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
	return printRefusals(cmd, policy, refused)
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

// refusal is what no rule allows, as the rule that would allow it. An end that
// no container is known for stands there as its address.
type refusal struct {
	Rule     string    `json:"rule"`
	Packets  uint64    `json:"packets"`
	LastSeen time.Time `json:"last_seen"`
}

// refusalsOf sums up the flows that the mode refuses, or would, and that the
// rules as they are now do not allow; the latest first. What is about apps that
// are gone needs no rule any more.
func refusalsOf(policy client.Policy, flows []client.Flow, apps []client.App) (out refusals) {
	gone := func(m client.Member) bool {
		return m.AppID != "" && !slices.ContainsFunc(apps, func(a client.App) bool { return a.ID == m.AppID })
	}
	wanted := map[string]string{"deny": string(platform.Denied), "dry-run": string(platform.WouldDeny)}[policy.Mode]
	byRule := map[string]*refusal{}
	for _, f := range flows {
		if f.Verdict != wanted || gone(f.From) || gone(f.To) || allowed(policy.Rules, f) {
			continue
		}
		// Of a conversation that only the server was seen in, the packets went back.
		sum := f.Packets + f.ReplyPackets
		switch service := serviceOf(f); {
		case !service.Known():
			out.portUnknown += sum
			continue
		case !service.Nameable():
			out.otherProtocols += sum
			continue
		}
		text := partyOf(f.From) + " -> " + partyOf(f.To) + " " + serviceOf(f).String()
		r := byRule[text]
		if r == nil {
			r = &refusal{Rule: text}
			byRule[text] = r
		}
		r.Packets += sum
		if f.LastSeen.After(r.LastSeen) {
			r.LastSeen = f.LastSeen
		}
	}
	for _, r := range byRule {
		out.rules = append(out.rules, *r)
	}
	slices.SortFunc(out.rules, func(a, b refusal) int { return cmp.Or(b.LastSeen.Compare(a.LastSeen), cmp.Compare(a.Rule, b.Rule)) })
	return out
}

// allowed reports whether the rules allow a flow that was refused before one
// of them was added. Rules of a form that this version cannot read allow
// nothing here.
func allowed(rules []client.Rule, f client.Flow) bool {
	party := func(m client.Member) platform.Party { return platform.Party{App: m.App, Type: m.Type} }
	return slices.ContainsFunc(rules, func(r client.Rule) bool {
		rule, err := platform.ParseRule(r.Rule)
		return err == nil && rule.Allows(party(f.From), party(f.To), serviceOf(f))
	})
}

func partyOf(m client.Member) string {
	if m.App == "" {
		return m.Name
	}
	return m.App + ":" + m.Type
}

// serviceOf is the service of a flow. A protocol that has no name comes as a
// number.
func serviceOf(f client.Flow) platform.Service {
	protocols := map[string]platform.Protocol{"tcp": platform.TCP, "udp": platform.UDP, "icmp": platform.ICMP}
	protocol, named := protocols[f.Protocol]
	if number, err := strconv.ParseUint(f.Protocol, 10, 8); !named && err == nil {
		protocol = platform.Protocol(number)
	}
	return platform.Service{Protocol: protocol, Port: uint16(f.Port)}
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
