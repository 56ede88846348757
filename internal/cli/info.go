package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) infoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Show an app",
		Long:  "Show an app: its state, project, addresses and settings.\n\n" + appHelp,
		Example: `  atoll info
  atoll info -a shop-gateway
  atoll info --json`,
		Args: arguments(),
		RunE: t.info,
	}
	t.addApp(cmd)
	addJSON(cmd)
	return cmd
}

func (t *tool) info(cmd *cobra.Command, _ []string) error {
	name, err := t.app(cmd, ".")
	if err != nil {
		return err
	}
	c, err := t.client(cmd)
	if err != nil {
		return err
	}
	app, err := c.App(cmd.Context(), name)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), app)
	}
	formation, err := c.Formation(cmd.Context(), name)
	if err != nil {
		return err
	}
	deployed := "never"
	if !app.LastDeployedAt.IsZero() {
		deployed = when(app.LastDeployedAt)
		if app.LastDeployedBy != "" {
			deployed += " by " + app.LastDeployedBy
		}
	}
	return facts(cmd.OutOrStdout(),
		"Name", app.Name,
		"Id", app.ID,
		"Status", t.colours(cmd.OutOrStdout()).status(app.Status),
		"Formation", formationText(formation),
		"URL", app.URL,
		"Project", app.Project.Name,
		"Private network", strings.Join(app.PrivateNetworks, ", "),
		"Owner", app.Owner.Username,
		"Deployed", deployed,
		"Created", when(app.CreatedAt),
		"Git", app.GitURL,
		"HTTPS only", yesNo(app.ForceHTTPS),
		"Sticky sessions", yesNo(app.StickySession),
		"Router logs", yesNo(app.RouterLogs),
	)
}

// formationText is a formation as arguments of scale: "web:2:M worker:1:L".
func formationText(formation []client.ProcessType) string {
	parts := make([]string, 0, len(formation))
	for _, p := range formation {
		parts = append(parts, fmt.Sprintf("%s:%d:%s", p.Name, p.Amount, p.Size))
	}
	return strings.Join(parts, " ")
}
