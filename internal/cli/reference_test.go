package cli

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestReferenceIsTheSameHoweverTheRootIsRun(t *testing.T) {
	sh := newShell(t)
	var direct strings.Builder
	if err := WriteReference(&direct, sh.root(io.Discard, io.Discard)); err != nil {
		t.Fatal(err)
	}
	sh.run("reference").want(ExitOK, direct.String(), "")
	for _, text := range []string{"## atoll env set", "| `-a`, `--app` |", "## atoll exit-codes", "atoll scale web:2 worker:1:L"} {
		if !strings.Contains(direct.String(), text) {
			t.Errorf("%q is missing", text)
		}
	}
	if strings.Contains(direct.String(), sh.env["HOME"]) {
		t.Error("it tells of this machine")
	}
}

// TestHelpIsComplete guards what every command owes its reader.
func TestHelpIsComplete(t *testing.T) {
	sh := newShell(t)
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			visit(child)
		}
		if !cmd.HasParent() || cmd.Hidden {
			return
		}
		if cmd.Short == "" || cmd.Long == "" {
			t.Errorf("%s has no help", cmd.CommandPath())
		}
		if cmd.Runnable() && !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		if cmd.Runnable() && cmd.Args == nil {
			t.Errorf("%s does not check its arguments", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Long) {
			if len(line) > 82 {
				t.Errorf("%s: a line of the help is longer than a terminal: %q", cmd.CommandPath(), line)
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no help", cmd.CommandPath(), f.Name)
			}
		})
	}
	visit(sh.root(io.Discard, io.Discard))
}

func TestCompletion(t *testing.T) {
	sh := newShell(t)
	sh.runningApp("gateway")
	sh.server.AddApp("catalog")
	sh.run("env", "set", "KEY=1", "-a", "gateway").has(ExitOK)
	for args, want := range map[string]string{
		"info --app ":                   "gateway catalog :4",
		"destroy ":                      "gateway catalog :4",
		"destroy gateway ":              ":4",
		"projects show ":                "default :4",
		"create x --project ":           "default :4",
		"scale -a gateway ":             "web: worker: :6",
		"scale -a gateway web:2:":       "web:2:S web:2:M web:2:L web:2:XL web:2:2XL web:2:3XL :4",
		"restart -a gateway ":           "web worker web-1 web-2 :4",
		"env get -a gateway ":           "KEY :4",
		"logs -a gateway --filter ":     "web worker web-1 web-2 :4",
		"deploy -a gateway ":            ":16",
		"env unset -a no-such-app KEY ": ":4",
	} {
		fields := append([]string{"__complete"}, strings.Split(args, " ")...)
		r := sh.run(fields...)
		got := strings.Join(strings.Fields(r.stdout), " ")
		if got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
	sh.env["ATOLL_TOKEN"] = "wrong"
	if r := sh.run("__complete", "destroy", ""); strings.TrimSpace(r.stdout) != ":4" || strings.Contains(r.stderr, "Error") {
		t.Errorf("not logged in: %q %q", r.stdout, r.stderr)
	}
	sh.run("completion", "bash").has(ExitOK, "bash completion")
}

func TestHelpTopic(t *testing.T) {
	sh := newShell(t)
	sh.run("help", "exit-codes").has(ExitOK, "6    the deployment ended")
}

func TestTableWithWideRunes(t *testing.T) {
	out := table{head: []string{"A", "B"}}
	out.add("é", "x")
	out.add("longer", "")
	var b strings.Builder
	if err := out.print(&b); err != nil || b.String() != "A       B\né       x\nlonger\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB", 1 << 60: "1048576.0 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
