package cli

import "github.com/spf13/cobra"

func (t *tool) whoamiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Show who you are, and where",
		Long: `Show the user whose token is used, and the server. It asks the server, so it is
also a check of the login.`,
		Example: `  atoll whoami
  atoll whoami --json`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.client(cmd)
			if err != nil {
				return err
			}
			user, err := c.Self(cmd.Context())
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), map[string]any{"url": c.URL(), "user": user})
			}
			return facts(cmd.OutOrStdout(), "User", user.Username, "Email", user.Email, "Id", user.ID, "Server", c.URL())
		},
	}
	addJSON(cmd)
	return cmd
}
