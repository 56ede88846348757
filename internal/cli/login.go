package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

func (t *tool) loginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log in to a server",
		Long: `Log in to a server, with an API token or with user name and password.

A password is not kept: it is used once to make an API token. URL and token are
stored in ~/.config/atoll/config.json ($XDG_CONFIG_HOME is respected), readable
by you alone. The variables ATOLL_URL and ATOLL_TOKEN go before what is stored;
with both set no login is needed.

Prefer --token-file to --token: other users of the machine can see the
arguments of a command while it runs.`,
		Example: `  atoll login --url https://api.example.com
  atoll login --url https://api.example.com --user jane
  atoll login --url http://127.0.0.1:8080 --token-file token.txt
  echo "$TOKEN" | atoll login --url https://api.example.com --token-file -`,
		Args: arguments(),
		RunE: t.login,
	}
	cmd.Flags().String("url", "", "base URL of the server (else ATOLL_URL, else that of the last login)")
	cmd.Flags().String("user", "", "user name or email, for a login with a password")
	cmd.Flags().String("token", "", "API token")
	cmd.Flags().String("token-file", "", "file with the API token, - for stdin")
	cmd.MarkFlagsMutuallyExclusive("token", "token-file", "user")
	return cmd
}

func (t *tool) login(cmd *cobra.Command, _ []string) error {
	serverURL, err := t.loginURL(cmd)
	if err != nil {
		return err
	}
	if unencrypted(serverURL) {
		note(cmd, "Warning: %s is not encrypted; others on the way can read your token.", serverURL)
	}
	token, err := t.loginToken(cmd)
	if err != nil {
		return err
	}
	if token == "" {
		if token, err = t.tokenForPassword(cmd, serverURL); err != nil {
			return err
		}
	}
	c, err := t.clientFor(cmd, account{URL: serverURL, Token: token})
	if err != nil {
		return err
	}
	user, err := c.Self(cmd.Context())
	if client.StatusOf(err) == 401 {
		return fail(ExitAuth, "Check the token and the URL; nothing was stored.", "cannot log in: the server at %s does not accept the token", c.URL())
	}
	if err != nil {
		return err
	}
	path, err := t.storeAccount(account{URL: c.URL(), Token: token, User: user})
	if err != nil {
		return err
	}
	note(cmd, "Logged in at %s as %s (%s). The token is stored in %s.", c.URL(), user.Username, user.Email, path)
	for _, name := range []string{"ATOLL_URL", "ATOLL_TOKEN"} {
		if t.getenv(name) != "" {
			note(cmd, "Note: %s is set and goes before what is stored.", name)
		}
	}
	return nil
}

func (t *tool) loginURL(cmd *cobra.Command) (string, error) {
	flag, err := cmd.Flags().GetString("url")
	if err != nil || flag != "" {
		return flag, err
	}
	if fromEnv := t.getenv("ATOLL_URL"); fromEnv != "" {
		return fromEnv, nil
	}
	// A stored login that cannot be read is about to be replaced.
	if stored, err := t.storedAccount(); err == nil && stored.URL != "" {
		return stored.URL, nil
	}
	return "", usage("no server is given: use --url, for instance --url https://api.example.com")
}

// loginToken returns the token given by a flag, "" when there is none.
func (t *tool) loginToken(cmd *cobra.Command) (string, error) {
	token, err := cmd.Flags().GetString("token")
	if err != nil {
		return "", err
	}
	file, err := cmd.Flags().GetString("token-file")
	if err != nil {
		return "", err
	}
	if file != "" {
		// A token is short: the bound is for a file that is something else.
		if token, err = readStart(cmd, file, 4096); err != nil {
			return "", fmt.Errorf("cannot read the token: %w", err)
		}
	}
	token = strings.TrimSpace(token)
	given := cmd.Flags().Changed("token") || cmd.Flags().Changed("token-file")
	if given && token == "" {
		return "", usage("the given token is empty")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usage("this is no API token: it holds spaces or unprintable characters")
	}
	return token, nil
}

func readStart(cmd *cobra.Command, file string, most int64) (string, error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	content, err := io.ReadAll(io.LimitReader(in, most))
	return string(content), err
}

func (t *tool) tokenForPassword(cmd *cobra.Command, serverURL string) (string, error) {
	c, err := t.clientFor(cmd, account{URL: serverURL})
	if err != nil {
		return "", err
	}
	noTerminal := usage("there is no terminal to ask for the password: use --token-file (or --token) instead")
	user, err := cmd.Flags().GetString("user")
	if err != nil {
		return "", err
	}
	if user == "" {
		if user, err = t.ask(cmd, "User name or email: ", noTerminal); err != nil {
			return "", err
		}
	}
	password, err := t.askSecret(cmd, "Password: ", noTerminal)
	if err != nil {
		return "", err
	}
	if user == "" || password == "" {
		return "", usage("a user name and a password are needed")
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	token, err := c.CreateToken(cmd.Context(), user, password, "atoll on "+host)
	if answer := (*client.Error)(nil); errors.As(err, &answer) && answer.Status == 401 {
		return "", fail(ExitAuth, "Check user name and password, or use an API token with --token-file.", "%w", err)
	}
	return token.Secret, err
}

// unencrypted reports whether a token would cross a network in the clear.
func unencrypted(serverURL string) bool {
	u, err := url.Parse(serverURL)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}
