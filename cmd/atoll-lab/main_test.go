package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/lab"
)

// The test binary is also the command, started again with this variable.
const mainVariable = "ATOLL_LAB_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
		return
	}
	if err := os.Setenv(mainVariable, "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// run runs atoll-lab and returns what it says and its exit code.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	} else if err != nil {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

func TestALabByHand(t *testing.T) {
	lab.NeedRoot(t)
	// Always the same: a lab that outlives its maker also outlives a killed
	// test, and the next one removes it.
	const name = "made-by-hand"
	down := func() {
		if out, code := run(t, "down", name); code != 0 {
			t.Error(out)
		}
	}
	down()
	t.Cleanup(down)
	if out, code := run(t, "up", name, "--record", "new.example. 60 IN A "+lab.ServerAddr); code != 0 {
		t.Fatal(out)
	}
	if out, code := run(t, "up", name); code != 1 || !strings.Contains(out, "atoll-lab down "+name) {
		t.Errorf("a second up: exit %d: %s", code, out)
	}
	if out, code := run(t, "clean"); code != 0 || strings.Contains(out, name) {
		t.Errorf("clean: exit %d: %s", code, out)
	}

	for _, tc := range []struct {
		command []string
		code    int
		says    string
	}{
		{[]string{"ip", "-o", "addr"}, 0, lab.ServerAddr + "/24"},
		{[]string{"cat", "/proc/self/mounts"}, 0, "/sys/fs/cgroup"},
		{[]string{"sh", "-c", "exit 7"}, 7, ""},
		{[]string{"no-such-command"}, 127, "no-such-command"},
		{[]string{"/etc/passwd"}, 126, "permission denied"},
	} {
		out, code := run(t, append([]string{"exec", name, "server", "--"}, tc.command...)...)
		if code != tc.code || !strings.Contains(out, tc.says) {
			t.Errorf("exec %q: exit %d, want %d; it says %q, want %q in it", tc.command, code, tc.code, out, tc.says)
		}
	}
	if out, code := run(t, "exec", name, "moon", "--", "true"); code != 1 || !strings.Contains(out, "server and internet") {
		t.Errorf("exec on the moon: exit %d: %s", code, out)
	}

	address := forward(t, name)
	if out, code := run(t, "forward", name, "--listen", "0.0.0.0:0", "--to", lab.EchoAddr+":80"); code != 1 || !strings.Contains(out, "only 127.0.0.1") {
		t.Errorf("forward for everybody: exit %d: %s", code, out)
	}
	if out, code := run(t, "forward", name, "--listen", address, "--to", lab.EchoAddr+":80"); code != 1 || !strings.Contains(out, "in use") {
		t.Errorf("forward from a port in use: exit %d: %s", code, out)
	}
	if out, code := run(t, "questions", name, "--json"); code != 0 || strings.TrimSpace(out) != "[]" {
		t.Errorf("questions: exit %d: %s", code, out)
	}
	if out, code := run(t, "down", name); code != 0 {
		t.Errorf("down: exit %d: %s", code, out)
	}
	if _, err := http.Get("http://" + address + "/"); err == nil {
		t.Error("the forwarder outlived the lab")
	}
	if out, code := run(t, "down", name); code != 0 {
		t.Errorf("a second down: exit %d: %s", code, out)
	}
}

// forward starts a forwarder and returns where it listens, after it worked.
func forward(t *testing.T, name string) string {
	t.Helper()
	out, code := run(t, "forward", name, "--listen", "127.0.0.1:0", "--to", lab.EchoAddr+":80", "--from", "server")
	if code != 0 {
		t.Fatal(out)
	}
	address, _, _ := strings.Cut(out, " ")
	var echo lab.Echo
	lab.WaitFor(t, 20*time.Second, "an answer through the forwarder", func() (bool, error) {
		resp, err := http.Get("http://" + address + "/")
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return false, err
		}
		return true, json.Unmarshal(body, &echo)
	})
	if !strings.HasPrefix(echo.Source, lab.ServerAddr+":") {
		t.Errorf("forwarded from %s, want %s", echo.Source, lab.ServerAddr)
	}
	return address
}
