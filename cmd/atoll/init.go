package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/server"
)

func initCommand() *cobra.Command {
	var user server.FirstUser
	var tokenFile string
	var passwordStdin bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Create the first user and a token (as root, on the server's machine)",
		Long: `Creates the database, the first user with a default project, and an API token
for that user. The token is printed once, or written to a file; it cannot be
read again. A second init is refused.`,
		Example: `  atoll init --username ada --email ada@example.com
  atoll init --username ada --email ada@example.com --token-file /root/atoll-token
  printf '%s' "$PASSWORD" | atoll init --username ada --email ada@example.com --password-stdin`,
		Args: cobra.NoArgs,
	}
	read := configFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&user.Username, "username", "admin", "name of the user")
	flags.StringVar(&user.Email, "email", "admin@localhost.localdomain", "address of the user")
	flags.StringVar(&tokenFile, "token-file", "", "write the token to this new file (mode 0600) instead of standard output")
	flags.BoolVar(&passwordStdin, "password-stdin", false, "read a password for the user from standard input (default: log in by token only)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		if passwordStdin {
			line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
			if err != nil && err != io.EOF {
				return fmt.Errorf("cannot read the password: %w", err)
			}
			user.Password = strings.TrimRight(line, "\r\n")
		}
		var out io.Writer = cmd.OutOrStdout()
		if tokenFile != "" {
			// The file first: a token that cannot be kept must not be made.
			f, err := os.OpenFile(tokenFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return fmt.Errorf("cannot create the token file (it must not exist yet): %w", err)
			}
			defer f.Close()
			out = f
		}
		token, err := server.Init(cmd.Context(), cfg, user)
		if err != nil {
			if tokenFile != "" {
				os.Remove(tokenFile)
			}
			return err
		}
		if _, err := fmt.Fprintln(out, token); err != nil {
			return fmt.Errorf("cannot write the token: %w", err)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "Created user %s. Start the server with \"atoll server\", then log in with\n  atoll login --url http://%s --token TOKEN\n", user.Username, cfg.APIListen)
		return nil
	}
	return cmd
}
