package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

func (t *tool) flowsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "flows",
		Short: "Show who talked to whom in a project's private network",
		Long: `Show who talked to whom in the private network of a project: each pair of
containers (app/type/number) with the port of the server, packets and bytes in
both directions, and whether the policy allowed it. It is always counted; the
latest conversations are kept, also for a while after a container went away.

With --follow, go on with what has traffic, once a second, until Ctrl-C; each
line counts what came since the one before.

` + projectHelp,
		Example: `  atoll flows --project shop
  atoll flows --follow -a shop-web
  atoll flows --follow --json | jq 'select(.verdict == "denied")'`,
		Args: arguments(),
		RunE: t.flows,
	}
	t.addProject(cmd)
	cmd.Flags().BoolP("follow", "f", false, "go on with what has traffic")
	addJSON(cmd)
	return cmd
}

func (t *tool) flows(cmd *cobra.Command, _ []string) error {
	follow, err := cmd.Flags().GetBool("follow")
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
	if follow {
		return t.followFlows(cmd, c, project)
	}
	flows, err := c.Flows(cmd.Context(), project.ID)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), list(flows))
	}
	if len(flows) == 0 {
		note(cmd, "Nobody talked in the private network of the project %s yet.", project.Name)
		return nil
	}
	colours := t.colours(cmd.OutOrStdout())
	out := table{head: []string{"FROM", "TO", "PORT", "VERDICT", "PACKETS", "BYTES", "BACK", "BYTES BACK", "LAST SEEN"}, paint: map[int]func(string) string{3: colours.verdict}}
	for _, f := range flows {
		out.add(f.From.Name, f.To.Name, portOf(f), f.Verdict, strconv.FormatUint(f.Packets, 10), bytesText(int64(f.Bytes)),
			strconv.FormatUint(f.ReplyPackets, 10), bytesText(int64(f.ReplyBytes)), when(f.LastSeen))
	}
	return out.print(cmd.OutOrStdout())
}

func (t *tool) followFlows(cmd *cobra.Command, c *client.Client, project client.Project) error {
	var printErr error
	out, colours := cmd.OutOrStdout(), t.colours(cmd.OutOrStdout())
	show := func(f client.Flow) {
		if printErr != nil {
			return
		}
		if wantsJSON(cmd) {
			_, printErr = fmt.Fprintln(out, compactJSON(f))
			return
		}
		_, printErr = fmt.Fprintf(out, "%s %s -> %s %s %s: %s, %s; back %s, %s\n", colours.dim(when(f.LastSeen)), colours.name(f.From.Name), colours.name(f.To.Name),
			portOf(f), colours.verdict(f.Verdict), packets(f.Packets), bytesText(int64(f.Bytes)), packets(f.ReplyPackets), bytesText(int64(f.ReplyBytes)))
	}
	err := c.FollowFlows(cmd.Context(), project.ID, show, func(text string) { note(cmd, "%s", text) })
	if printErr != nil {
		return printErr
	}
	if cmd.Context().Err() != nil {
		// Ctrl-C is the ordinary end of following: no message is due.
		return &failure{code: ExitInterrupted, err: cmd.Context().Err(), silent: true}
	}
	return err
}

// portOf is the port of a flow as people read it. One that is not known must
// not look like the * of a rule.
func portOf(f client.Flow) string {
	s := serviceOf(f)
	switch {
	case s.Known():
		return s.String()
	case s.Protocol == platform.AnyProtocol:
		return "?"
	}
	return "?/" + s.Protocol.String()
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

func packets(n uint64) string { return count(int(n), "packet", "packets") }

// verdict colours what a policy said.
func (p palette) verdict(text string) string {
	switch text {
	case "allowed":
		return p.good(text)
	case "denied":
		return p.bad(text)
	}
	return p.busy(text)
}
