package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/client/apitest"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // times are shown in the person's own zone
	os.Exit(m.Run())
}

// shell runs commands as a person would, in a home and a folder of its own.
type shell struct {
	t      *testing.T
	server *apitest.Server
	env    map[string]string
	// stdin is what the next command reads; with terminal it is typed.
	stdin    io.Reader
	terminal bool
	// colour makes stdout a terminal too.
	colour bool
	ctx    context.Context
}

// newShell starts a server and logs in by environment.
func newShell(t *testing.T) *shell {
	t.Helper()
	t.Chdir(t.TempDir())
	s := apitest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return &shell{t: t, server: s, ctx: ctx, stdin: strings.NewReader(""), env: map[string]string{
		"HOME": t.TempDir(), "ATOLL_URL": s.URL, "ATOLL_TOKEN": apitest.Token}}
}

// output may be written by a command while a test reads it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// result is how a command ended.
type result struct {
	t      *testing.T
	args   []string
	code   int
	stdout string
	stderr string
}

func (sh *shell) root(stdout, stderr io.Writer) *cobra.Command {
	t := &tool{
		pack:   packFolder,
		getenv: func(name string) string { return sh.env[name] },
		isTerminal: func(stream any) bool {
			return stream == any(sh.stdin) && sh.terminal || stream == any(stdout) && sh.colour
		},
		readSecret: readPassword,
		poll:       10 * time.Millisecond, giveUp: time.Second,
	}
	root := &cobra.Command{Use: "atoll", Version: "test"}
	root.AddCommand(t.commands()...)
	root.SetIn(sh.stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root
}

func (sh *shell) run(args ...string) result {
	sh.t.Helper()
	var stdout, stderr output
	root := sh.root(&stdout, &stderr)
	root.SetArgs(args)
	code := execute(sh.ctx, root)
	return result{sh.t, args, code, stdout.String(), stderr.String()}
}

// want checks exit code, stdout and stderr. The server's address is written
// as URL.
func (r result) want(code int, stdout, stderr string) {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("%v: exit code %d, want %d; stderr:\n%s", r.args, r.code, code, r.stderr)
	}
	if diff := cmp.Diff(stdout, r.stdout); diff != "" {
		r.t.Errorf("%v: stdout (-want +got):\n%s", r.args, diff)
	}
	if diff := cmp.Diff(stderr, r.stderr); diff != "" {
		r.t.Errorf("%v: stderr (-want +got):\n%s", r.args, diff)
	}
}

// has checks the exit code and that stdout and stderr together hold texts.
func (r result) has(code int, texts ...string) {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("%v: exit code %d, want %d; stderr:\n%s", r.args, r.code, code, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			r.t.Errorf("%v: %q is not in\n%s%s", r.args, text, r.stdout, r.stderr)
		}
	}
}

// packFolder packs a folder without any rules.
func packFolder(_ context.Context, dir string, w io.Writer) (files int, err error) {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if err := archive.WriteHeader(&tar.Header{Name: "app/" + entry.Name(), Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := archive.Close(); err != nil {
		return 0, err
	}
	return files, zip.Close()
}

func (sh *shell) file(name, content string) {
	sh.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		sh.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		sh.t.Fatal(err)
	}
}

// runningApp adds an app with two process types.
func (sh *shell) runningApp(name string) {
	sh.server.AddApp(name)
	sh.server.SetRunning(name,
		apitest.Object{"name": "web", "amount": 2, "size": "M", "command": "./server"},
		apitest.Object{"name": "worker", "amount": 0, "size": "L", "command": "./work --fast"})
}

func stored(t *testing.T, sh *shell) (account, fs.FileInfo) {
	t.Helper()
	tl := &tool{getenv: func(name string) string { return sh.env[name] }}
	path, err := tl.accountPath()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := tl.storedAccount()
	if err != nil {
		t.Fatal(err)
	}
	return a, info
}
