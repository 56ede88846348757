package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// TestPolicy changes the policy of a project and looks, at once, at who
// reaches whom.
func TestPolicy(t *testing.T) {
	t.Parallel()
	p := openPolicied(t, "policy")
	t.Run("deny and allow", p.denyAndAllow)
	t.Run("dry-run only counts", p.dryRun)
	t.Run("rename", p.rename)
	t.Run("new containers", p.newContainers)
	t.Run("destroy", p.destroy)
}

// policied is a project with a client and a server.
type policied struct {
	project        string
	client, server rig.App
	web, api       rig.Container
}

func openPolicied(t *testing.T, name string) *policied {
	m := rig.Use(t)
	p := &policied{project: m.Project(t, name)}
	p.client, p.server = m.App(t, p.project, name+"-client"), m.App(t, p.project, name+"-server")
	p.server.Must(t, "scale", "web:0")
	p.server.Deploy(t, rig.Probe(t, "1", rig.Types{"api": ""}))
	p.server.Must(t, "scale", "api:1")
	p.api = p.server.Container(t, "api-1")
	p.client.Must(t, "env", "set", "SERVER="+p.api.Atoll.PrivateIP)
	p.client.Deploy(t, eagerApp(t))
	p.web = p.client.Container(t, "web-1")
	return p
}

// eagerApp is the probe, with two types that connect to the server with their
// first instructions and tell in their logs how it goes.
func eagerApp(t *testing.T) string {
	dir := rig.Probe(t, "1", rig.Types{"web": ""})
	for name, content := range map[string]string{
		"Procfile": "web: python3 probe.py\neager: python3 eager.py\nfriend: python3 eager.py\n",
		"eager.py": `import itertools, os, socket, time
for n in itertools.count(1):
    try:
        socket.create_connection((os.environ["SERVER"], 3000), timeout=0.5).close()
        print(f"attempt {n} passed", flush=True)
    except OSError:
        print(f"attempt {n} refused", flush=True)
    time.sleep(0.2)
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (p *policied) policy(t *testing.T, args ...string) string {
	t.Helper()
	return p.client.Machine.Must(t, append(append([]string{"policy"}, args...), "--project", p.project)...)
}

// rule is the one that all of these tests are about.
func (p *policied) rule() string {
	return p.client.Name + ":web -> " + p.server.Name + ":api 3000/tcp"
}

func (p *policied) wantPassed(t *testing.T) {
	t.Helper()
	var answer rig.Probed
	p.web.MustFetch(t, &answer, rig.Private(p.api.Atoll.PrivateIP))
}

func (p *policied) wantDenied(t *testing.T) {
	t.Helper()
	p.web.WantRefused(t, rig.Private(p.api.Atoll.PrivateIP))
}

func (p *policied) denyAndAllow(t *testing.T) {
	p.wantPassed(t)
	open := dial(t, p.web, p.api.Atoll.PrivateIP, 3000)
	open.wantAnswer(t, "before any policy")

	p.policy(t, "mode", "deny")
	p.wantDenied(t)
	open.wantSilence(t, "in mode deny")
	if _, err := p.web.Run(t, "ping", "-c", "1", "-W", "1", p.api.Atoll.PrivateIP); err == nil {
		t.Error("ICMP echo passes in mode deny")
	}
	p.web.WantAnswer(t, "api."+p.server.Name+".internal.", "A", "NOERROR", "5 A "+p.api.Atoll.PrivateIP)
	if p.client.Probe(t).Version != "1" {
		t.Error("the router does not reach web any more")
	}

	p.policy(t, "allow", p.rule())
	p.wantPassed(t)
	open.wantAnswer(t, "with a rule")
	// The rule is about one port, one direction, one protocol.
	p.web.WantRefused(t, "http://"+p.api.Atoll.PrivateIP+":3001/")
	p.api.WantRefused(t, "http://"+p.web.Atoll.PrivateIP+":8080/")
	if _, err := p.web.Run(t, "ping", "-c", "1", "-W", "1", p.api.Atoll.PrivateIP); err == nil {
		t.Error("ICMP echo passes by a rule about TCP")
	}
	p.policy(t, "allow", p.client.Name+":* -> *:* icmp")
	if out, err := p.web.Run(t, "ping", "-c", "1", "-W", "2", p.api.Atoll.PrivateIP); err != nil {
		t.Errorf("ICMP echo does not pass by its rule: %v %s", err, out)
	}

	p.policy(t, "remove", p.rule())
	p.wantDenied(t)
	open.wantSilence(t, "with the rule removed")
	p.policy(t, "mode", "open")
	p.wantPassed(t)
	open.wantAnswer(t, "in mode open")
	rig.Report(t, "policies: a change takes effect on the next packet", "new and open connections stopped by deny, went on by a rule, stopped without it")
}

// shownPolicy is what `atoll policy --json` prints.
type shownPolicy struct {
	Mode    string
	Rules   []struct{ ID, Rule string }
	Refused []struct {
		Rule    string
		Packets int
	}
}

func (p *policied) shown(t *testing.T) (s shownPolicy) {
	t.Helper()
	p.client.Read(t, &s, "policy")
	return s
}

func (p *policied) dryRun(t *testing.T) {
	p.policy(t, "mode", "dry-run")
	if s := p.shown(t); s.Mode != "dry-run" || len(s.Refused) != 0 {
		t.Errorf("before any packet there is %+v", s)
	}
	p.wantPassed(t)
	counted := func() error {
		s := p.shown(t)
		i := slices.IndexFunc(s.Refused, func(r struct {
			Rule    string
			Packets int
		}) bool {
			return r.Rule == p.rule()
		})
		if i < 0 || s.Refused[i].Packets < 3 {
			return fmt.Errorf("it shows %+v", s)
		}
		return nil
	}
	rig.Await(t, 5*time.Second, "the would-be denial to be counted", counted)
	// The rule that is shown is the rule that helps.
	p.policy(t, "allow", p.rule())
	if s := p.shown(t); len(s.Refused) != 0 {
		t.Errorf("with the rule there is still %+v", s.Refused)
	}
	p.policy(t, "mode", "deny")
	p.wantPassed(t)
	rig.Report(t, "policies: dry-run only counts", "what deny would refuse passed and was shown as the rule that allows it")
}

func (p *policied) rename(t *testing.T) {
	old := p.rule()
	p.server.Must(t, "rename", "policy-renamed")
	p.server.Name = "policy-renamed"
	p.wantPassed(t)
	if texts := p.policy(t); !strings.Contains(texts, p.rule()) || strings.Contains(texts, old) {
		t.Errorf("after the rename the policy is\n%s", texts)
	}
	if r := p.client.Machine.Atoll(t, "policy", "remove", old, "--project", p.project); r.Code != rig.ExitNotFound {
		t.Errorf("a rule of the old name:\n%v", r)
	}
	rig.Report(t, "policies: rules follow renames", "%s became %s", old, p.rule())
}

// newContainers: what starts later obeys from its first packet, be it of a new
// type, a scaled one, or a new generation.
func (p *policied) newContainers(t *testing.T) {
	p.policy(t, "allow", p.client.Name+":friend -> *:* 3000")
	p.client.Must(t, "scale", "eager:2", "friend:2")
	p.wantAttempts(t, "eager", "refused", 2)
	p.wantAttempts(t, "friend", "passed", 2)

	p.client.Deploy(t, eagerApp(t))
	p.web = p.client.Container(t, "web-1")
	p.wantPassed(t)
	p.wantAttempts(t, "eager", "refused", 4)
	p.wantAttempts(t, "friend", "passed", 4)

	p.server.Must(t, "scale", "api:2")
	second := p.server.Container(t, "api-2")
	var answer rig.Probed
	p.web.MustFetch(t, &answer, rig.Private(second.Atoll.PrivateIP))
	p.web.WantRefused(t, "http://"+second.Atoll.PrivateIP+":3001/")
	rig.Report(t, "policies: new containers obey from their first packet", "4 denied and 4 allowed containers of a scaling and a deployment")
}

// wantAttempts waits until a number of containers of a type told of a first
// attempt, and checks that all attempts ended the same way.
func (p *policied) wantAttempts(t *testing.T, kind, outcome string, containers int) {
	t.Helper()
	var logs string
	rig.Await(t, 90*time.Second, kind+" containers to try", func() error {
		logs = p.client.Must(t, "logs", "-n", "2000", "-F", kind)
		if n := strings.Count(logs, "attempt 1 "); n < containers {
			return fmt.Errorf("%d of %d tried", n, containers)
		}
		return nil
	})
	for line := range strings.Lines(logs) {
		if strings.Contains(line, "attempt ") && !strings.HasSuffix(strings.TrimSpace(line), outcome) {
			t.Errorf("one of %s was not %s: %s", kind, outcome, line)
		}
	}
}

// destroy: the rules that name an app go with it.
func (p *policied) destroy(t *testing.T) {
	p.server.Machine.Must(t, "destroy", p.server.Name, "--yes")
	if texts := p.policy(t); strings.Contains(texts, p.server.Name) || !strings.Contains(texts, "friend") {
		t.Errorf("with the app gone the policy is\n%s", texts)
	}
}

// TestPolicyOutlivesTheServer kills the server. It is not parallel, so nothing
// else runs meanwhile.
func TestPolicyOutlivesTheServer(t *testing.T) {
	p := openPolicied(t, "stays")
	m := p.client.Machine
	p.policy(t, "mode", "deny")
	other := p.client.Name + ":web -> *:* 3001"
	p.policy(t, "allow", p.rule())
	open := dial(t, p.web, p.api.Atoll.PrivateIP, 3000)
	check := func(when string) {
		t.Helper()
		p.wantPassed(t)
		open.wantAnswer(t, when)
		p.api.WantRefused(t, "http://"+p.web.Atoll.PrivateIP+":8080/")
	}
	check("before the kill")
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	check("without a server")
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	check("with a new server")
	if s := p.shown(t); s.Mode != "deny" || len(s.Rules) != 1 || s.Rules[0].Rule != p.rule() {
		t.Errorf("the policy is %+v", s)
	}
	p.policy(t, "allow", other)
	p.policy(t, "remove", p.rule())
	p.wantDenied(t)
	open.wantSilence(t, "with the rule removed after the restart")
	rig.Report(t, "policies: survive kill -9 of the server", "denied and allowed as before, without it and after it")
}

// connection is a TCP connection inside the private network that stays open.
type connection struct {
	in  io.Writer
	out chan string
}

// dial opens a connection from a container to a probe. It asks only when told
// to, and goes on waiting for an answer that did not come.
func dial(t *testing.T, from rig.Container, addr string, port int) *connection {
	t.Helper()
	const program = `import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
pending = False
print("open", flush=True)
for line in sys.stdin:
    s.settimeout(float(line))
    try:
        if not pending:
            s.sendall(b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n")
        pending = True
        got = b""
        while b"}" not in got:
            part = s.recv(65536)
            if not part:
                raise SystemExit("closed")
            got += part
        pending = False
        print("answer", flush=True)
    except TimeoutError:
        print("silence", flush=True)
`
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(from.First(t)), "--mount", "--net", "--",
		"python3", "-c", program, addr, strconv.Itoa(port))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &connection{in: in, out: make(chan string, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(c.out)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.out <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range c.out { // until its end
		}
		<-ended
		_ = cmd.Wait() // it was killed
	})
	if got := <-c.out; got != "open" {
		t.Fatalf("no connection: %s", stderr.String())
	}
	return c
}

func (c *connection) ask(t *testing.T, seconds int) string {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, seconds); err != nil {
		t.Fatal(err)
	}
	return <-c.out
}

// wantAnswer: what was lost is sent again by TCP, ever more slowly.
func (c *connection) wantAnswer(t *testing.T, when string) {
	t.Helper()
	if got := c.ask(t, 30); got != "answer" {
		t.Errorf("an open connection %s gives %q, want an answer", when, got)
	}
}

func (c *connection) wantSilence(t *testing.T, when string) {
	t.Helper()
	if got := c.ask(t, 1); got != "silence" {
		t.Errorf("an open connection %s gives %q, want silence", when, got)
	}
}
