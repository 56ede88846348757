package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/lab"
)

// app is an app of a test, which is destroyed with the test.
type app struct {
	*machine
	name string
}

// project makes a project, which is deleted with the test.
func (m *machine) project(t testing.TB, name string) string {
	t.Helper()
	m.must(t, "projects", "create", name)
	t.Cleanup(func() {
		if r := m.atoll(t, "projects", "delete", name); r.code != 0 {
			t.Logf("cannot delete a project:\n%v", r)
		}
	})
	return name
}

// app creates an app in a project.
func (m *machine) app(t testing.TB, project, name string) app {
	t.Helper()
	a := app{m, name}
	m.must(t, "create", name, "--project", project)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what there is to see of %s:\n%v\n%v\n%v", name, a.atoll(t, "deployments"), a.atoll(t, "ps"), a.atoll(t, "logs", "-n", "20"))
		}
		if r := m.atoll(t, "destroy", name, "--yes"); r.code != 0 && r.code != exitNotFound {
			t.Logf("cannot destroy an app:\n%v", r)
		}
	})
	return a
}

// Exit codes, as `atoll exit-codes` lists them.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitAuth        = 3
	exitNotFound    = 4
	exitConflict    = 5
	exitDeployment  = 6
	exitInterrupted = 130
)

func (a app) atoll(t testing.TB, args ...string) result {
	t.Helper()
	return a.machine.atoll(t, append(args, "-a", a.name)...)
}

func (a app) must(t testing.TB, args ...string) string {
	t.Helper()
	return a.machine.must(t, append(args, "-a", a.name)...)
}

func (a app) read(t testing.TB, v any, args ...string) {
	t.Helper()
	a.machine.read(t, v, append(args, "-a", a.name)...)
}

// url is the public address of a path that begins with "/".
func (a app) url(path string) string { return "http://" + a.name + "." + baseDomain + path }

// deployment is what `atoll deployments --json` tells of one.
type deployment struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Error  string `json:"error"`
}

// deploy deploys a folder, which has to succeed.
func (a app) deploy(t testing.TB, dir string) {
	t.Helper()
	a.must(t, "deploy", dir)
}

// deployments lists those of the app, the newest first.
func (a app) deployments(t testing.TB) []deployment {
	t.Helper()
	var list []deployment
	a.read(t, &list, "deployments")
	return list
}

// ps lists the containers.
func (a app) ps(t testing.TB) []container {
	t.Helper()
	var list []container
	a.read(t, &list, "ps")
	return list
}

// container is the one in service with a label.
func (a app) container(t testing.TB, label string) container {
	t.Helper()
	list := a.ps(t)
	i := slices.IndexFunc(list, func(c container) bool { return c.Label == label && c.Atoll.InService })
	if i < 0 {
		t.Fatalf("%s has no container %s in service: %+v", a.name, label, list)
	}
	return list[i]
}

// longName is the name with ids of a short one, "2.api.shop.internal.".
func (a app) longName(t testing.TB, short string) string {
	t.Helper()
	var names []struct {
		Name  string `json:"name"`
		Short string `json:"short_name"`
	}
	a.read(t, &names, "names")
	for _, n := range names {
		if n.Short == short {
			return n.Name
		}
	}
	t.Fatalf("%s has no name %s: %+v", a.name, short, names)
	return ""
}

// probe reads what the app's web answers through the router.
func (a app) probe(t testing.TB) probed {
	t.Helper()
	var p probed
	a.get(t, 200, a.url("/")).read(t, &p)
	return p
}

// standing is what a user sees of an app that stands still.
type standing struct {
	Formation, Names, Variables string
	Containers                  []string
}

func (a app) standing(t testing.TB) standing {
	t.Helper()
	s := standing{Formation: a.must(t, "scale", "--json"), Names: a.must(t, "names", "--json"), Variables: a.must(t, "env", "--json")}
	for _, c := range a.ps(t) {
		s.Containers = append(s.Containers, fmt.Sprintf("%s %s %s %s in service: %v, restarts: %d, first process: %d",
			c.Label, c.ID, c.State, c.Atoll.PrivateIP, c.Atoll.InService, c.Atoll.Restarts, c.first(t)))
	}
	return s
}

// wantUnchanged waits until nothing is left of what was refused or failed, and
// all is as before. A change is reported once: before becomes what is now.
func (a app) wantUnchanged(t testing.TB, before *standing) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for len(a.ps(t)) != len(before.Containers) && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond) // until the failed containers are gone
	}
	now := a.standing(t)
	if diff := cmp.Diff(*before, now); diff != "" {
		t.Errorf("%s is not as before (-before +after):\n%s", a.name, diff)
		*before = now
	}
}

// awaitGone waits until no process of a container is left.
func awaitGone(t testing.TB, c container) {
	t.Helper()
	await(t, 90*time.Second, c.Label+" to be gone", func() error {
		if pids := c.processes(); len(pids) > 0 {
			return fmt.Errorf("it has the processes %v", pids)
		}
		return nil
	})
}

// await waits until cond has no error any more.
func await(t testing.TB, limit time.Duration, what string, cond func() error) {
	t.Helper()
	lab.WaitFor(t, limit, what, func() (bool, error) {
		err := cond()
		return err == nil, err
	})
}

// example is the folder of an example of the project.
func example(t testing.TB, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "examples", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// folder writes files into a folder of the test.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// types are the options of the probe by process type.
type types map[string]string

// probe writes an app whose processes are the probe.
func probe(t testing.TB, version string, processes types) string {
	t.Helper()
	program, err := os.ReadFile(filepath.Join("testdata", "probe.py"))
	if err != nil {
		t.Fatal(err)
	}
	var procfile strings.Builder
	for _, name := range slices.Sorted(maps.Keys(processes)) {
		fmt.Fprintf(&procfile, "%s: python3 probe.py %s\n", name, processes[name])
	}
	return folder(t, map[string]string{"Procfile": procfile.String(), "VERSION": version, "probe.py": string(program)})
}
