package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client"
)

// account is what login keeps, in config.json.
type account struct {
	URL   string      `json:"url"`
	Token string      `json:"token"`
	User  client.User `json:"user"`
}

// client returns a client for the server and user in force: the environment
// first, then what login stored.
func (t *tool) client(cmd *cobra.Command) (*client.Client, error) {
	a, err := t.account()
	if err != nil {
		return nil, err
	}
	return t.clientFor(cmd, a)
}

func (t *tool) clientFor(cmd *cobra.Command, a account) (*client.Client, error) {
	c, err := client.New(client.Config{
		URL: a.URL, Token: a.Token, Version: cmd.Root().Version,
		Transport: t.transport, PollInterval: t.poll, GiveUp: t.giveUp,
	})
	if err != nil {
		return nil, usage("%w", err)
	}
	return c, nil
}

// account combines the environment and the stored login. A stored token is
// for the stored server only: ATOLL_URL alone must not send it elsewhere.
func (t *tool) account() (account, error) {
	const hint = "Log in with `atoll login --url URL`, or set ATOLL_URL and ATOLL_TOKEN."
	stored, err := t.storedAccount()
	if err != nil {
		return account{}, err
	}
	url, token := t.getenv("ATOLL_URL"), t.getenv("ATOLL_TOKEN")
	if url == "" {
		url = stored.URL
	}
	if url == "" && token != "" {
		return account{}, fail(ExitAuth, hint, "ATOLL_TOKEN is set, but no server is known")
	}
	if url == "" {
		return account{}, fail(ExitAuth, hint, "you are not logged in")
	}
	if token == "" {
		if stored.Token == "" {
			return account{}, fail(ExitAuth, hint, "you are not logged in")
		}
		if !sameServer(url, stored.URL) {
			return account{}, fail(ExitAuth, hint, "ATOLL_URL is %s, but you are logged in at %s", url, stored.URL)
		}
		token = stored.Token
	}
	return account{URL: url, Token: token, User: stored.User}, nil
}

func sameServer(a, b string) bool {
	ua, errA := client.ParseURL(a)
	ub, errB := client.ParseURL(b)
	return errA == nil && errB == nil && ua.String() == ub.String()
}

// accountPath is $XDG_CONFIG_HOME/atoll/config.json, by default below
// ~/.config.
func (t *tool) accountPath() (string, error) {
	dir := t.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := t.getenv("HOME")
		if home == "" {
			return "", errors.New("cannot find the configuration: HOME is not set")
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "atoll", "config.json"), nil
}

// storedAccount reads what login stored; without a login it is zero.
func (t *tool) storedAccount() (account, error) {
	path, err := t.accountPath()
	if err != nil {
		return account{}, nil // without a home there can be no login
	}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return account{}, nil
	}
	if err != nil {
		return account{}, fmt.Errorf("cannot read the stored login: %w", err)
	}
	var a account
	if err := json.Unmarshal(content, &a); err != nil {
		return account{}, fmt.Errorf("cannot read the stored login in %s: %w; `atoll logout` removes it", path, err)
	}
	return a, nil
}

// storeAccount writes the login so that only its owner can read it, whole or
// not at all.
func (t *tool) storeAccount(a account) (string, error) {
	path, err := t.accountPath()
	if err != nil {
		return "", err
	}
	content, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("cannot store the login: %w", err)
	}
	// CreateTemp makes files with mode 0600.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return "", fmt.Errorf("cannot store the login: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(content, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot store the login: %w", err)
	}
	return path, nil
}
