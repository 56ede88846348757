package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// promised is the median time from what happened to the answer that says so. It
// is far more than what is found (see docs/measurements.md): other tests run
// beside.
const promised = time.Second

// TestMembership measures how long clients see what is not so any more.
func TestMembership(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	project := m.Project(t, "membership")
	server, client := m.App(t, project, "member-server"), m.App(t, project, "member-client")
	server.Must(t, "scale", "web:0")
	server.Deploy(t, rig.Probe(t, "1", rig.Types{"api": "--private"}))
	server.Must(t, "scale", "api:3")
	watch, err := os.ReadFile(filepath.Join("testdata", "names", "watch.py"))
	if err != nil {
		t.Fatal(err)
	}
	client.Must(t, "scale", "web:0")
	client.Deploy(t, rig.Folder(t, map[string]string{"Procfile": "client: sleep infinity\n", "watch.py": string(watch), "requirements.txt": ""}))
	client.Must(t, "scale", "client:1")
	from := client.Container(t, "client-1")
	var left, joined spans
	for range 3 {
		for _, label := range []string{"api-1", "api-2", "api-3"} {
			w := watchName(t, from, server, label)
			left, joined = append(left, w.left), append(joined, w.joined)
		}
	}
	for _, found := range []struct {
		what string
		took spans
	}{{"a crash to the name without it", left}, {"listening to the name with it", joined}} {
		rig.Report(t, "membership: "+found.what, "%v", found.took)
		if found.took.median() >= promised {
			t.Errorf("%s: %v, promised is a median below %v", found.what, found.took, promised)
		}
	}
}

// spans are times, which print as their median and the longest.
type spans []time.Duration

func (s spans) median() time.Duration {
	slices.Sort(s)
	return s[len(s)/2]
}

func (s spans) String() string {
	median := s.median()
	return fmt.Sprintf("median %v, longest %v, of %d", median.Round(100*time.Microsecond), s[len(s)-1].Round(100*time.Microsecond), len(s))
}

// watched is what a client saw of one crash.
type watched struct {
	left   time.Duration // from the kill to an answer without it
	joined time.Duration // from the first connection it took to an answer with it
}

// watchName kills a container's process while a client asks for its name all
// the time.
func watchName(t *testing.T, from rig.Container, server rig.App, label string) watched {
	t.Helper()
	victim := server.Container(t, label)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := from.Command(ctx, t, "python3", "/app/watch.py", "api.member-server.internal", victim.Atoll.PrivateIP, "3000")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil || line != "watching\n" {
		t.Fatalf("it says %q (%v): %s", line, err, stderr.String())
	}
	first := victim.First(t) // a look at all processes, before the time counts
	killed := time.Now()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var at [3]float64 // left, accepted, back
	if _, err := fmt.Sscan(strings.TrimSpace(string(text)), &at[0], &at[1], &at[2]); err != nil {
		t.Fatalf("it says %q: %v", text, err)
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return watched{left: seconds(at[0]) - time.Duration(killed.UnixNano()), joined: seconds(at[2] - at[1])}
}
