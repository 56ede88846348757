package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Container is what `atoll ps --json` tells of one.
type Container struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	Type  string `json:"type"`
	State string `json:"state"`
	Atoll struct {
		PrivateIP string `json:"private_ip"`
		InService bool   `json:"in_service"`
		Reason    string `json:"reason"`
		Restarts  int    `json:"restarts"`
	} `json:"atoll"`
}

// processes are the process ids of a container, as this machine sees them, the
// oldest first.
func (c Container) processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err == nil && strings.Contains(string(group), c.ID) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// First is the process that the container ends with.
func (c Container) First(t testing.TB) int {
	t.Helper()
	pids := c.processes()
	if len(pids) == 0 {
		t.Fatalf("%s (%s) has no process", c.Label, c.ID)
	}
	return pids[0]
}

// Environment is that of the container's first process.
func (c Container) Environment(t testing.TB) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.First(t)))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, line := range strings.Split(string(text), "\x00") {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	return env
}

// Run runs a program of the container's file system in its namespaces.
func (c Container) Run(t testing.TB, program string, args ...string) (string, error) {
	t.Helper()
	return c.RunWithin(t, 30*time.Second, program, args...)
}

// RunWithin is Run for a program that may take longer.
func (c Container) RunWithin(t testing.TB, limit time.Duration, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := c.Command(ctx, t, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s in %s: %w: %s", program, c.Label, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Command prepares a program of the container's file system in its namespaces,
// which ends with ctx.
func (c Container) Command(ctx context.Context, t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	args = append([]string{"--target", strconv.Itoa(c.First(t)), "--mount", "--net", "--uts", "--", program}, args...)
	return exec.CommandContext(ctx, "nsenter", args...)
}

// Fetch gets a URL from inside.
func (c Container) Fetch(t testing.TB, url string) (string, error) {
	t.Helper()
	return c.Run(t, "curl", "-sSf", "--max-time", "5", url)
}

// MustFetch reads the JSON at a URL, got from inside, into v.
func (c Container) MustFetch(t testing.TB, v any, url string) {
	t.Helper()
	out, err := c.Fetch(t, url)
	if err == nil {
		err = json.Unmarshal([]byte(out), v)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", url, err, out)
	}
}

// WantRefused checks that a URL cannot be reached from inside: there is no
// such name, no way, or nobody who answers.
func (c Container) WantRefused(t testing.TB, url string) {
	t.Helper()
	out, err := c.Run(t, "curl", "-sS", "--max-time", strconv.Itoa(int(patience.Seconds())), url)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !slices.Contains([]int{6, 7, 28}, exit.ExitCode()) {
		t.Errorf("%s reaches %s: %v\n%s", c.Label, url, err, out)
	}
}

// Probed is what the probe answers at /.
type Probed struct {
	App, Container, Version, Value string
	Ticks                          int
}

// Private is the URL of a port 3000.
func Private(host string) string { return "http://" + strings.TrimSuffix(host, ".") + ":3000/" }

// Address is the IPv4 address of an interface inside.
func (c Container) Address(t testing.TB, link string) (addr string, bits int) {
	t.Helper()
	out, err := c.Run(t, "ip", "-j", "-4", "addr", "show", "dev", link)
	if err != nil {
		t.Fatal(err)
	}
	var links []struct {
		Addresses []struct {
			Local     string
			Prefixlen int
		} `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 || len(links[0].Addresses) != 1 {
		t.Fatalf("%s of %s has not exactly one address (%v): %s", link, c.Label, err, out)
	}
	return links[0].Addresses[0].Local, links[0].Addresses[0].Prefixlen
}

// reply is an answer of DNS.
type reply struct {
	Status  string
	Records []string // "TTL TYPE DATA"
}

var (
	digStatus = regexp.MustCompile(`status: ([A-Z]+)`)
	digRecord = regexp.MustCompile(`(?m)^[^;\s]\S*\s+(\d+)\s+IN\s+(\S+)\s+(.+)$`)
)

// Dig asks the container's resolver.
func (c Container) Dig(t testing.TB, name, kind string) reply {
	t.Helper()
	out, err := c.Run(t, "dig", "+time=5", "+tries=1", "+noall", "+comments", "+answer", name, kind)
	status := digStatus.FindStringSubmatch(out)
	if err != nil || status == nil {
		t.Fatalf("dig %s %s: %v\n%s", name, kind, err, out)
	}
	r := reply{Status: status[1]}
	for _, record := range digRecord.FindAllStringSubmatch(out, -1) {
		r.Records = append(r.Records, strings.Join(record[1:], " "))
	}
	slices.Sort(r.Records)
	return r
}

// WantAnswer checks an answer: records are "TTL TYPE DATA", in any order.
func (c Container) WantAnswer(t testing.TB, name, kind, status string, records ...string) {
	t.Helper()
	got := c.Dig(t, name, kind)
	slices.Sort(records)
	if got.Status != status || !slices.Equal(got.Records, records) {
		t.Errorf("%s asks %s %s: %s %q, want %s %q", c.Label, name, kind, got.Status, got.Records, status, records)
	}
}
