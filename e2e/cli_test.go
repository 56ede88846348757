package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
	"github.com/atollhq/atoll/internal/lab"
)

// help is what `atoll COMMAND --help` says, by the words of the command.
func help(m *rig.Machine, t *testing.T, words ...string) map[string]string {
	t.Helper()
	text := m.Must(t, append(words, "--help")...)
	all := map[string]string{strings.Join(words, " "): text}
	for _, sub := range subcommands(text) {
		for name, text := range help(m, t, append(slices.Clone(words), sub)...) {
			all[name] = text
		}
	}
	return all
}

var subcommand = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) `)

func subcommands(help string) []string {
	_, list, found := strings.Cut(help, "Available Commands:\n")
	if !found {
		return nil
	}
	list, _, _ = strings.Cut(list, "\n\n")
	var names []string
	for _, match := range subcommand.FindAllStringSubmatch(list, -1) {
		// Of cobra itself.
		if match[1] != "help" && match[1] != "completion" {
			names = append(names, match[1])
		}
	}
	return names
}

// TestCommands runs every command that lists something with --json, and reads
// every help text.
func TestCommands(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	project := m.Project(t, "commands")
	a := m.App(t, project, "commands-app")
	dir := rig.Probe(t, "1", rig.Types{"web": "", "api": "--private"})
	a.Must(t, "env", "set", "NAME=value")
	// By command; the rest of its arguments. Those that change something leave
	// it as it was.
	commands := map[string][]string{
		"apps": {}, "cron-tasks": {"-a", a.Name}, "doctor": {"commands-app/web", "commands-app.internal", "8080"}, "drops": {"-a", a.Name}, "flows": {"-a", a.Name},
		"policy": {"-a", a.Name}, "policy allow": {"*:* -> *:* 3000", "-a", a.Name}, "policy mode": {"open", "-a", a.Name}, "policy remove": {"*:* -> *:* 3000", "-a", a.Name},
		"create": {"commands-made"}, "deploy": {dir, "-a", a.Name}, "deployments": {"-a", a.Name}, "deployments follow": {"-a", a.Name}, "deployments logs": {"-a", a.Name},
		"env": {"-a", a.Name}, "env get": {"NAME", "-a", a.Name}, "events": {"-a", a.Name}, "info": {"-a", a.Name}, "logs": {"-a", a.Name},
		"names": {"-a", a.Name}, "projects": {}, "projects create": {"commands-made"}, "projects rename": {"commands-made", "commands-renamed"},
		"projects show": {project}, "ps": {"-a", a.Name}, "rename": {a.Name, "-a", a.Name}, "scale": {"-a", a.Name}, "whoami": {},
	}
	help := help(m, t)
	if len(help) < 25 {
		t.Fatalf("only %d commands were found", len(help))
	}
	order := []string{"deploy", "projects create"} // the others need these
	for name, text := range help {
		if name != "" && name != "exit-codes" && !strings.Contains(text, "Examples:\n  ") && !strings.Contains(text, "Examples:\n\n") {
			t.Errorf("the help of %q has no example:\n%s", name, text)
		}
		if !strings.Contains(text, "--json") || slices.Contains(order, name) {
			continue
		}
		if _, known := commands[name]; !known {
			t.Errorf("%q has --json, which no test looks at: add it here", name)
			continue
		}
		order = append(order, name)
	}
	slices.Sort(order[2:])
	for _, name := range order {
		args := append(strings.Fields(name), commands[name]...)
		out := m.Must(t, append(args, "--json")...)
		// Logs have an object on each line.
		decoder, n := json.NewDecoder(strings.NewReader(out)), 0
		for ; decoder.More(); n++ {
			var value any
			if err := decoder.Decode(&value); err != nil {
				t.Errorf("atoll %s --json prints no JSON: %v\n%s", strings.Join(args, " "), err, out)
				break
			}
		}
		if n == 0 {
			t.Errorf("atoll %s --json prints nothing", strings.Join(args, " "))
		}
	}
	m.Must(t, "destroy", "commands-made", "--yes")
	m.Must(t, "projects", "delete", "commands-renamed")
}

// TestEmptyLists: lists without entries are [], never null.
func TestEmptyLists(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	a := m.App(t, m.Project(t, "empty"), "empty-app")
	for _, command := range []string{"ps", "env", "deployments"} {
		if out := a.Must(t, command, "--json"); strings.TrimSpace(out) != "[]" {
			t.Errorf("atoll %s --json of a new app prints %s, want []", command, out)
		}
	}
	a.Get(t, 503, a.URL("/")) // there, not deployed
}

// TestExitCodes has one example of each; the tests of what fails have more.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	a := m.App(t, m.Project(t, "codes"), "codes-app")
	for name, tt := range map[string]struct {
		args []string
		env  string
		code int
		says string
	}{
		"no server":         {[]string{"apps"}, "ATOLL_URL=http://" + lab.ServerAddr + ":7999", rig.ExitFailure, "Check that the server runs"},
		"unknown command":   {[]string{"aps"}, "", rig.ExitUsage, "apps"},
		"unknown flag":      {[]string{"apps", "--jsn"}, "", rig.ExitUsage, "--jsn"},
		"missing argument":  {[]string{"create"}, "", rig.ExitUsage, "NAME"},
		"no app chosen":     {[]string{"ps"}, "", rig.ExitUsage, "no app is chosen"},
		"wrong token":       {[]string{"apps"}, "ATOLL_TOKEN=tk-us-wrong", rig.ExitAuth, "atoll login"},
		"no such app":       {[]string{"ps", "-a", "no-such-app"}, "", rig.ExitNotFound, "`atoll apps` lists your apps"},
		"no such project":   {[]string{"create", "codes-other", "--project", "no-such-project"}, "", rig.ExitNotFound, "`atoll projects` lists"},
		"never deployed":    {[]string{"restart", "-a", a.Name}, "", rig.ExitConflict, "deploy it first"},
		"project with apps": {[]string{"projects", "delete", "codes"}, "", rig.ExitConflict, "app"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cmd := m.Command(ctx, tt.args...)
			if tt.env != "" {
				cmd.Env = append(cmd.Env, tt.env)
			}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != tt.code || !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("atoll %s: %v, want exit code %d and an error that says %q:\n%s", strings.Join(tt.args, " "), err, tt.code, tt.says, &stderr)
			}
		})
	}
	if list := m.Must(t, "exit-codes", "--help"); !strings.Contains(list, "130") {
		t.Errorf("the exit codes are not explained:\n%s", list)
	}
}
