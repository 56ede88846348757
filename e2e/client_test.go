package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// result is how a command of the client ended.
type result struct {
	command        string
	code           int
	stdout, stderr string
}

// String is all of it, for failures.
func (r result) String() string {
	return "$ " + r.command + "\n" + r.stdout + r.stderr
}

// atoll runs a command of the client on the internet, logged in. It may fail.
func (m *machine) atoll(t testing.TB, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := m.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := result{command: "atoll " + strings.Join(args, " "), stdout: stdout.String(), stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		r.code = exit.ExitCode()
	case err != nil:
		t.Fatalf("%v\n%v", err, r)
	}
	return r
}

// must runs a command that has to work and returns its output.
func (m *machine) must(t testing.TB, args ...string) string {
	t.Helper()
	r := m.atoll(t, args...)
	if r.code != 0 {
		t.Fatalf("exit code %d:\n%v", r.code, r)
	}
	return r.stdout
}

// read runs a command that has to work and reads its JSON into v.
func (m *machine) read(t testing.TB, v any, args ...string) {
	t.Helper()
	out := m.must(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatalf("atoll %s --json does not print JSON: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// command prepares a command of the client. It sees nothing of the settings of
// whoever runs the tests.
func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := m.lab.Internet().Command(ctx, filepath.Join(m.bin, "atoll"), args...)
	cmd.Dir = m.lab.Dir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.lab.Dir(), "NO_COLOR=1", "ATOLL_URL=" + apiURL, "ATOLL_TOKEN=" + m.token}
	return cmd
}
