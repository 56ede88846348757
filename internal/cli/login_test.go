package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/client/apitest"
)

func loggedOut(t *testing.T) *shell {
	sh := newShell(t)
	delete(sh.env, "ATOLL_URL")
	delete(sh.env, "ATOLL_TOKEN")
	return sh
}

func TestLoginWithToken(t *testing.T) {
	sh := loggedOut(t)
	sh.run("login", "--url", sh.server.URL+"/", "--token", apitest.Token).has(ExitOK, "Logged in at "+sh.server.URL+" as jane (jane@example.com)")
	a, info := stored(t, sh)
	if a.URL != sh.server.URL || a.Token != apitest.Token || a.User.Username != "jane" {
		t.Errorf("stored %+v", a)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	sh.run("whoami").want(ExitOK, "User    jane\nEmail   jane@example.com\nId      us-1\nServer  "+sh.server.URL+"\n", "")
	sh.run("logout").want(ExitOK, "", "Logged out.\n")
	sh.run("logout").want(ExitOK, "", "You were not logged in.\n")
	sh.run("whoami").want(ExitAuth, "", "Error: you are not logged in\nLog in with `atoll login --url URL`, or set ATOLL_URL and ATOLL_TOKEN.\n")
}

func TestLoginWithTokenFile(t *testing.T) {
	sh := loggedOut(t)
	sh.file("token.txt", apitest.Token+"\n")
	sh.run("login", "--url", sh.server.URL, "--token-file", "token.txt").has(ExitOK, "Logged in")
	sh.stdin = strings.NewReader(apitest.Token)
	sh.run("login", "--token-file", "-").has(ExitOK, "Logged in at "+sh.server.URL)
	sh.run("login", "--token-file", "missing.txt").has(ExitFailure, "cannot read the token")
	sh.file("token.txt", "two words")
	sh.run("login", "--token-file", "token.txt").has(ExitUsage, "this is no API token")
	sh.file("token.txt", "\n")
	sh.run("login", "--token-file", "token.txt").has(ExitUsage, "the given token is empty")
}

func TestLoginErrors(t *testing.T) {
	sh := loggedOut(t)
	sh.run("login", "--token", apitest.Token).has(ExitUsage, "no server is given")
	sh.run("login", "--url", "example.com", "--token", apitest.Token).has(ExitUsage, "is no server URL")
	sh.run("login", "--url", sh.server.URL, "--token", "tk-us-wrong").has(ExitAuth, "does not accept the token", "nothing was stored")
	sh.run("login", "--url", "http://127.0.0.1:1", "--token", "x").has(ExitFailure, "cannot reach the server at http://127.0.0.1:1", "connection refused", "Check that the server runs")
	sh.run("login", "--url", sh.server.URL).want(ExitUsage, "", "Error: there is no terminal to ask for the password: use --token-file (or --token) instead\nSee `atoll login --help`.\n")
	sh.run("login", "--url", sh.server.URL, "--token", "x", "--user", "y").has(ExitUsage, "none of the others can be")
	if _, err := os.Stat(filepath.Join(sh.env["HOME"], ".config")); !os.IsNotExist(err) {
		t.Errorf("something was stored: %v", err)
	}
	sh.env["XDG_CONFIG_HOME"] = t.TempDir()
	sh.file(filepath.Join(sh.env["XDG_CONFIG_HOME"], "atoll", "config.json"), "{")
	sh.run("apps").has(ExitFailure, "cannot read the stored login", "`atoll logout` removes it")
}

func TestLoginWithPassword(t *testing.T) {
	for _, test := range []struct {
		password string
		code     int
		says     string
	}{{apitest.Password, ExitOK, "Logged in"}, {"wrong", ExitAuth, "the user name or the password is wrong"}} {
		sh := loggedOut(t)
		person, stdin := openTerminal(t)
		sh.stdin, sh.terminal = stdin, true
		var stdout, stderr output
		root := sh.root(&stdout, &stderr)
		root.SetArgs([]string{"login", "--url", sh.server.URL})
		ended := make(chan int, 1)
		go func() { ended <- execute(sh.ctx, root) }()
		eventually(t, "the question for the user", func() bool { return strings.Contains(stderr.String(), "User name or email: ") })
		person.WriteString("jane\n")
		eventually(t, "a hidden password", func() bool { return !echoes(t, stdin) })
		person.WriteString(test.password + "\n")
		if code := <-ended; code != test.code || !strings.Contains(stderr.String(), test.says) {
			t.Errorf("exit code %d, stderr:\n%s", code, stderr.String())
		}
		if !echoes(t, stdin) {
			t.Error("the terminal is left without echo")
		}
	}
}

func TestInterruptedPasswordLeavesTheTerminalAsItWas(t *testing.T) {
	sh := loggedOut(t)
	_, stdin := openTerminal(t)
	sh.stdin, sh.terminal = stdin, true
	ctx, cancel := context.WithCancel(sh.ctx)
	var stdout, stderr output
	root := sh.root(&stdout, &stderr)
	root.SetArgs([]string{"login", "--url", sh.server.URL, "--user", "jane"})
	ended := make(chan int, 1)
	go func() { ended <- execute(ctx, root) }()
	eventually(t, "a hidden password", func() bool { return !echoes(t, stdin) })
	cancel()
	if code := <-ended; code != ExitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if !echoes(t, stdin) {
		t.Error("the terminal is left without echo")
	}
}

func TestStoredTokenStaysWithItsServer(t *testing.T) {
	sh := loggedOut(t)
	sh.run("login", "--url", sh.server.URL, "--token", apitest.Token).has(ExitOK)
	other := apitest.New(t)
	sh.env["ATOLL_URL"] = other.URL
	sh.run("apps").has(ExitAuth, "ATOLL_URL is "+other.URL+", but you are logged in at "+sh.server.URL)
	if len(other.Requests()) > 0 {
		t.Errorf("the other server was asked: %v", other.Requests())
	}
	sh.env["ATOLL_TOKEN"] = apitest.Token
	sh.run("apps").has(ExitOK, "NAME")
	delete(sh.env, "ATOLL_URL")
	sh.env["ATOLL_TOKEN"] = "tk-us-wrong"
	sh.run("apps").has(ExitAuth, "does not accept the API token", "Log in with `atoll login`")
}

func TestUnencryptedLoginIsTold(t *testing.T) {
	for url, want := range map[string]bool{
		"http://127.0.0.1:1": false, "http://localhost:1": false, "http://[::1]:1": false,
		"https://example.com": false, "http://example.com": true, "http://192.0.2.1": true,
	} {
		if unencrypted(url) != want {
			t.Errorf("%s: %v", url, !want)
		}
	}
}

func TestWhoamiJSON(t *testing.T) {
	sh := newShell(t)
	var got struct {
		URL  string
		User struct{ Username string }
	}
	r := sh.run("whoami", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.URL != sh.server.URL || got.User.Username != "jane" {
		t.Errorf("%s: %v", r.stdout, err)
	}
}
