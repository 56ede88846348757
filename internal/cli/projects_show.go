package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) projectShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID|NAME",
		Short: "Show a project, its apps and its private network",
		Long: `Show a project, its apps and its private network: the range, how many of its
addresses are in use, and which.`,
		Example: `  atoll projects show shop
  atoll projects show shop --json`,
		Args: arguments("ID or NAME"),
		RunE: t.showProject,
	}
	addJSON(cmd)
	t.completeArgs(cmd, 1, t.projectNames)
	return cmd
}

func (t *tool) showProject(cmd *cobra.Command, args []string) error {
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	project, err := findProject(cmd.Context(), c, args[0])
	if err != nil {
		return err
	}
	var network *client.PrivateNetwork
	if project.HasNetwork() {
		n, err := c.ProjectNetwork(cmd.Context(), project.ID)
		if err != nil {
			return err
		}
		network = &n
	}
	all, err := c.Apps(cmd.Context())
	if err != nil {
		return err
	}
	apps := []string{}
	for _, app := range all {
		if app.Project.ID == project.ID {
			apps = append(apps, app.Name)
		}
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), map[string]any{"project": project, "apps": apps, "private_network": network})
	}
	pairs := []string{
		"Name", project.Name, "Id", project.ID, "Default", yesNo(project.Default),
		"Created", when(project.CreatedAt), "Apps", strings.Join(apps, ", "),
	}
	if network != nil {
		pairs = append(pairs, "Private network", network.ID, "Range", network.Subnet, "Gateway", network.Gateway,
			"Addresses in use", fmt.Sprintf("%d of %d", network.UsedIPs, network.MaxIPs), "", strings.Join(members(*network), " "))
	}
	return facts(cmd.OutOrStdout(), pairs...)
}

// members are the addresses of containers. Servers begin the list with the
// range's own address, for clients that cannot bear an empty list.
func members(network client.PrivateNetwork) []string {
	own, _, _ := strings.Cut(network.Subnet, "/")
	return slices.DeleteFunc(slices.Clone(network.UsedList), func(addr string) bool {
		return addr == own || addr == network.Gateway
	})
}
