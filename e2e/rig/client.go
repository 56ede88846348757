package rig

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

	"github.com/atollhq/atoll/internal/lab"
)

// Result is how a command of the client ended.
type Result struct {
	command        string
	Code           int
	Stdout, Stderr string
}

// String is all of it, for failures.
func (r Result) String() string {
	return "$ " + r.command + "\n" + r.Stdout + r.Stderr
}

// Atoll runs a command of the client on the internet, logged in. It may fail.
func (m *Machine) Atoll(t testing.TB, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	return run(t, m.Command(ctx, args...), args)
}

// Operate runs a command of the program on a server, as its operator would.
// It may fail.
func (m *Machine) Operate(t testing.TB, on lab.Namespace, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return run(t, on.Command(ctx, filepath.Join(m.bin, "atoll"), args...), args)
}

func run(t testing.TB, cmd *exec.Cmd, args []string) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := Result{command: "atoll " + strings.Join(args, " "), Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		r.Code = exit.ExitCode()
	case err != nil:
		t.Fatalf("%v\n%v", err, r)
	}
	return r
}

// Must runs a command that has to work and returns its output.
func (m *Machine) Must(t testing.TB, args ...string) string {
	t.Helper()
	r := m.Atoll(t, args...)
	if r.Code != 0 {
		t.Fatalf("exit code %d:\n%v", r.Code, r)
	}
	return r.Stdout
}

// Read runs a command that has to work and reads its JSON into v.
func (m *Machine) Read(t testing.TB, v any, args ...string) {
	t.Helper()
	out := m.Must(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatalf("atoll %s --json does not print JSON: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Command prepares a command of the client. It sees nothing of the settings of
// whoever runs the tests.
func (m *Machine) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := m.Lab.Internet().Command(ctx, filepath.Join(m.bin, "atoll"), args...)
	cmd.Dir = m.Lab.Dir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + m.Lab.Dir(), "NO_COLOR=1", "ATOLL_URL=" + APIURL, "ATOLL_TOKEN=" + m.token}
	return cmd
}
