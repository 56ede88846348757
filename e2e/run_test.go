package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/e2e/rig"
)

// TestRun runs commands in one-off containers of an app that serves.
func TestRun(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	project := m.Project(t, "run")
	r := &oneOffs{App: m.App(t, project, "run-service")}
	r.Deploy(t, rig.Probe(t, "1", rig.Types{"web": "", "api": "--private"}))
	r.Must(t, "scale", "api:1")
	r.web, r.api = r.Container(t, "web-1"), r.Container(t, "api-1")
	t.Run("detached", r.detached)
	t.Run("exit codes", r.exitCodes)
	t.Run("pipes", r.pipes)
	t.Run("terminal", r.terminal)
	t.Run("files", r.files)
	t.Run("member", r.member)
	t.Run("a client that is killed", r.clientKilled)
}

type oneOffs struct {
	rig.App
	web, api rig.Container
}

// command prepares `atoll` for the app.
func (r *oneOffs) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return r.Command(ctx, append([]string{args[0], "-a", r.Name}, args[1:]...)...)
}

// startDetached starts a detached one-off and returns its label.
func (r *oneOffs) startDetached(t *testing.T, args ...string) string {
	t.Helper()
	// Behind the command, options would be the command's.
	return strings.TrimSpace(r.Machine.Must(t, append([]string{"run", "-a", r.Name, "--detached"}, args...)...))
}

// run runs a command and returns what it wrote to standard output.
func (r *oneOffs) run(t *testing.T, input string, args ...string) (output string, code int) {
	t.Helper()
	cmd := r.command(t, append([]string{"run"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("atoll run %q: %v: %s", args, err, stderr.String())
	}
	if stderr.Len() > 0 {
		t.Logf("atoll run %q says: %s", args, stderr.String())
	}
	return stdout.String(), cmd.ProcessState.ExitCode()
}

// one waits for the one container with a label.
func (r *oneOffs) one(t *testing.T, label string) rig.Container {
	t.Helper()
	var found rig.Container
	rig.Await(t, 30*time.Second, label+" to run", func() error {
		list := r.Ps(t)
		i := slices.IndexFunc(list, func(c rig.Container) bool { return c.Label == label && c.State == "running" })
		if i < 0 {
			return fmt.Errorf("there is %+v", list)
		}
		found = list[i]
		return nil
	})
	return found
}

func (r *oneOffs) awaitLog(t *testing.T, text string) {
	t.Helper()
	rig.Await(t, 30*time.Second, "the log line "+text, func() error {
		if log := r.Must(t, "logs", "-n", "1000"); !strings.Contains(log, text) {
			return fmt.Errorf("there is %q", log)
		}
		return nil
	})
}

func (r *oneOffs) awaitOnlyFormation(t *testing.T) {
	t.Helper()
	rig.Await(t, 60*time.Second, "the one-offs to be gone", func() error {
		if list := r.Ps(t); len(list) != 2 {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
}

func (r *oneOffs) detached(t *testing.T) {
	if got := r.startDetached(t, "--size", "S", "--env", "WHO=me", "echo detached $CONTAINER $CONTAINER_SIZE $WHO on $HOSTNAME"); got != "one-off-1" {
		t.Fatalf("it prints %q, want the label", got)
	}
	r.awaitLog(t, "[one-off-1] detached one-off-1 S me on run-service-one-off-1")
	r.awaitOnlyFormation(t)
	if events := r.Must(t, "events", "--json"); !strings.Contains(events, `"run"`) || !strings.Contains(events, "echo detached") {
		t.Errorf("no event tells of it: %s", events)
	}
}

func (r *oneOffs) exitCodes(t *testing.T) {
	for command, want := range map[string]int{"true": 0, "exit 7": 7, "no-such-program": 127, "kill -TERM $$": 143} {
		if out, code := r.run(t, "", command); code != want {
			t.Errorf("%s: exit code %d, want %d; output %q", command, code, want, out)
		}
	}
	if res := r.Machine.Atoll(t, "run", "-a", r.Name, "--size", "XXS", "true"); res.Code != rig.ExitUsage {
		t.Errorf("a size that there is not: %v", res)
	}
}

func (r *oneOffs) pipes(t *testing.T) {
	if out, code := r.run(t, "hi\n", "cat"); out != "hi\n" || code != 0 {
		t.Errorf("cat returned %q with code %d", out, code)
	}
	data := strings.Repeat("any byte: \x00\x03\x04\x1c\xff\r\n", 200_000) // 3 MB
	if out, code := r.run(t, data, "cat"); out != data || code != 0 {
		t.Errorf("%d bytes of %d came back, with code %d", len(out), len(data), code)
	}
	if out, code := r.run(t, data, "wc -c >&2"); out != fmt.Sprintf("%d\n", len(data)) || code != 0 {
		t.Errorf("wc returned %q with code %d", out, code)
	}
	if out, _ := r.run(t, "", "[ -t 0 ] || [ -t 1 ] || echo no terminal"); out != "no terminal\n" {
		t.Errorf("with pipes it says %q", out)
	}
	rig.Report(t, "run: pipes", "%d bytes of any kind came back as they went", len(data))
}

// terminal works in a shell, as a person would.
func (r *oneOffs) terminal(t *testing.T) {
	person, tty := openTerminal(t)
	resize(t, person, 132, 43)
	before := settings(t, tty)
	cmd := r.command(t, "run", "bash")
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, true, 0
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &terminal{t: t, person: person}
	go s.read()
	s.await("$ ")
	s.send("stty size; echo \"[$TERM $SCALINGO_USER_ID]\"\r")
	s.await("43 132")
	s.await("[xterm-256color us-")
	if settings(t, tty) == before {
		t.Error("the terminal is not raw")
	}
	resize(t, person, 100, 30)
	s.send("while [ \"$(stty size)\" != '30 100' ]; do sleep 0.1; done; echo resized=yes\r")
	s.await("resized=yes\r\n")
	s.send("sh -c 'echo asleep=$((1+1)); exec sleep 1000'\r")
	s.await("asleep=2")
	s.send("\x03") // only the command in front ends
	s.await("^C")
	s.send("echo status=$?\r")
	s.await("status=130")
	s.send("exit 9\r")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("it ended with %v, want code 9; the screen has:\n%s", err, s.screen())
	}
	if settings(t, tty) != before {
		t.Error("the terminal is not as before")
	}
	rig.Report(t, "run: a terminal", "raw, resized, Ctrl-C, exit code 9, and as before afterwards")
}

func (r *oneOffs) files(t *testing.T) {
	dir := rig.Folder(t, map[string]string{"dump.sql": "insert", "set/a": "A", "set/b/c": "C"})
	out, code := r.run(t, "", "--file", filepath.Join(dir, "dump.sql"), "--file", filepath.Join(dir, "set"),
		"cd /tmp/uploads && ls && cat dump.sql && tar xzf set.tar.gz && cat set/a set/b/c")
	if want := "dump.sql\nset.tar.gz\ninsertAC"; out != want || code != 0 {
		t.Errorf("the container sees %q (code %d), want %q", out, code, want)
	}
}

// member: a one-off is in the private network, under its own name only.
func (r *oneOffs) member(t *testing.T) {
	label := r.startDetached(t, "echo bound to $SCALINGO_PRIVATE_HOSTNAME; exec python3 -m http.server 3000")
	c := r.one(t, label)
	number := strings.TrimPrefix(label, "one-off-")
	name := number + ".one-off.run-service.internal."
	if c.Atoll.PrivateIP == "" || c.Atoll.InService {
		t.Errorf("%+v: want a private address, and not to be in service", c)
	}
	if out, err := c.Run(t, "ip", "-brief", "address"); err != nil || !strings.Contains(out, "pn0") || !strings.Contains(out, "eth0") || !strings.Contains(out, c.Atoll.PrivateIP) {
		t.Errorf("its interfaces are %s (%v)", out, err)
	}
	r.web.WantAnswer(t, name, "A", "NOERROR", "5 A "+c.Atoll.PrivateIP)
	r.web.WantAnswer(t, "one-off.run-service.internal.", "A", "NOERROR")
	rig.Await(t, 30*time.Second, "its server", func() error {
		_, err := r.web.Fetch(t, "http://"+strings.TrimSuffix(name, ".")+":3000/")
		return err
	})
	// Listening changes nothing about service names.
	r.web.WantAnswer(t, "run-service.internal.", "A", "NOERROR", "5 A "+r.web.Atoll.PrivateIP)
	r.web.WantAnswer(t, "api.run-service.internal.", "A", "NOERROR", "5 A "+r.api.Atoll.PrivateIP)
	var answer rig.Probed
	c.MustFetch(t, &answer, rig.Private("api.run-service.internal"))
	if names := r.Must(t, "names", "--json"); !strings.Contains(names, `"`+strings.TrimSuffix(name, ".")) {
		t.Errorf("%s is not among the names: %s", name, names)
	}
	env := c.Environment(t)
	if env["PORT"] != "" || !strings.HasPrefix(env["SCALINGO_USER_ID"], "us-") || !strings.HasPrefix(env["SCALINGO_PRIVATE_HOSTNAME"], number+".one-off.ap-") {
		t.Errorf("its environment is %v", env)
	}
	r.Must(t, "one-off-stop", label)
	r.awaitOnlyFormation(t)
	rig.AwaitGone(t, c)
	r.web.WantAnswer(t, name, "A", "NXDOMAIN")
	r.awaitLog(t, "["+label+"] [atoll] it was stopped by ada")
	rig.Report(t, "members: one-offs", "%s had an address and its own name, was in no service name, and is gone", strings.TrimSuffix(name, "."))
}

func (r *oneOffs) clientKilled(t *testing.T) {
	_, tty := openTerminal(t)
	cmd := r.command(t, "run", "bash")
	cmd.Stdin, cmd.Stdout = tty, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, 30*time.Second, "it to run", func() error {
		if list := r.Ps(t); len(list) != 3 {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	r.awaitOnlyFormation(t)
}

// TestRunServerKilled kills the server while one-offs run.
func TestRunServerKilled(t *testing.T) {
	m := rig.Use(t)
	r := &oneOffs{App: m.App(t, m.Project(t, "run-killed"), "run-killed")}
	r.Deploy(t, rig.Probe(t, "1", rig.Types{"web": "", "api": ""}))
	r.web = r.Container(t, "web-1")
	detached := r.startDetached(t, "n=0; while [ ! -e /tmp/stop ]; do n=$((n+1)); echo count $n; sleep 0.05; done; echo counted $n; exit 3")
	c := r.one(t, detached)
	attached := r.command(t, "run", "sleep 1000")
	input, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	defer input.Close()
	attached.Stdin = input
	if err := attached.Start(); err != nil {
		t.Fatal(err)
	}
	r.one(t, "one-off-2")
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := attached.Wait(); err == nil {
		t.Error("an attached run ended well although its connection was lost")
	}
	if _, err := c.Run(t, "touch", "/tmp/stop"); err != nil { // it ends while there is no server
		t.Fatal(err)
	}
	rig.AwaitGone(t, c)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, time.Minute, "only the formation to be left", func() error {
		if list := r.Ps(t); len(list) != 1 || list[0].ID != r.web.ID {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
	log := r.Must(t, "logs", "-n", "10000", "-F", detached)
	if !strings.Contains(log, "["+detached+"] counted ") || strings.Contains(log, "[atoll]") {
		t.Errorf("its log ends with %q", log[max(0, len(log)-500):])
	}
}

// terminal is the person's side of one.
type terminal struct {
	t      *testing.T
	person *os.File
	mu     sync.Mutex
	seen   strings.Builder
}

func (s *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := s.person.Read(buf)
		s.mu.Lock()
		s.seen.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *terminal) screen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

func (s *terminal) send(keys string) {
	s.t.Helper()
	if _, err := s.person.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *terminal) await(text string) {
	s.t.Helper()
	rig.Await(s.t, 30*time.Second, fmt.Sprintf("%q on the screen", text), func() error {
		if !strings.Contains(s.screen(), text) {
			return fmt.Errorf("it has %q", s.screen())
		}
		return nil
	})
}

// openTerminal makes a pseudo terminal: the person's side and the program's.
func openTerminal(t *testing.T) (person, tty *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return person, tty
}

func resize(t *testing.T, person *os.File, width, height uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
}

func settings(t *testing.T, tty *os.File) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}
