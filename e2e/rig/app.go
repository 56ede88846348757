package rig

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

// App is an app of a test, which is destroyed with the test.
type App struct {
	*Machine
	Name string
}

// Project makes a project, which is deleted with the test.
func (m *Machine) Project(t testing.TB, name string) string {
	t.Helper()
	m.Must(t, "projects", "create", name)
	t.Cleanup(func() {
		if r := m.Atoll(t, "projects", "delete", name); r.Code != 0 {
			t.Logf("cannot delete a project:\n%v", r)
		}
	})
	return name
}

// App creates an app in a project.
func (m *Machine) App(t testing.TB, project, name string) App {
	t.Helper()
	a := App{m, name}
	m.Must(t, "create", name, "--project", project)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what there is to see of %s:\n%v\n%v\n%v", name, a.Atoll(t, "deployments"), a.Atoll(t, "ps"), a.Atoll(t, "logs", "-n", "20"))
		}
		if r := m.Atoll(t, "destroy", name, "--yes"); r.Code != 0 && r.Code != ExitNotFound {
			t.Logf("cannot destroy an app:\n%v", r)
		}
	})
	return a
}

// Exit codes, as `atoll exit-codes` lists them.
const (
	ExitFailure     = 1
	ExitUsage       = 2
	ExitAuth        = 3
	ExitNotFound    = 4
	ExitConflict    = 5
	ExitDeployment  = 6
	ExitInterrupted = 130
)

func (a App) Atoll(t testing.TB, args ...string) Result {
	t.Helper()
	return a.Machine.Atoll(t, append(args, "-a", a.Name)...)
}

func (a App) Must(t testing.TB, args ...string) string {
	t.Helper()
	return a.Machine.Must(t, append(args, "-a", a.Name)...)
}

func (a App) Read(t testing.TB, v any, args ...string) {
	t.Helper()
	a.Machine.Read(t, v, append(args, "-a", a.Name)...)
}

// URL is the public address of a path that begins with "/".
func (a App) URL(path string) string { return "http://" + a.Name + "." + BaseDomain + path }

// Deployment is what `atoll deployments --json` tells of one.
type Deployment struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Error  string `json:"error"`
}

// Deploy deploys a folder, which has to succeed.
func (a App) Deploy(t testing.TB, dir string) {
	t.Helper()
	a.Must(t, "deploy", dir)
}

// Deployments lists those of the app, the newest first.
func (a App) Deployments(t testing.TB) []Deployment {
	t.Helper()
	var list []Deployment
	a.Read(t, &list, "deployments")
	return list
}

// Ps lists the containers.
func (a App) Ps(t testing.TB) []Container {
	t.Helper()
	var list []Container
	a.Read(t, &list, "ps")
	return list
}

// Container is the one in service with a label.
func (a App) Container(t testing.TB, label string) Container {
	t.Helper()
	list := a.Ps(t)
	i := slices.IndexFunc(list, func(c Container) bool { return c.Label == label && c.Atoll.InService })
	if i < 0 {
		t.Fatalf("%s has no container %s in service: %+v", a.Name, label, list)
	}
	return list[i]
}

// LongName is the name with ids of a short one, "2.api.shop.internal.".
func (a App) LongName(t testing.TB, short string) string {
	t.Helper()
	var names []struct {
		Name  string `json:"name"`
		Short string `json:"short_name"`
	}
	a.Read(t, &names, "names")
	for _, n := range names {
		if n.Short == short {
			return n.Name
		}
	}
	t.Fatalf("%s has no name %s: %+v", a.Name, short, names)
	return ""
}

// Probe reads what the app's web answers through the router.
func (a App) Probe(t testing.TB) Probed {
	t.Helper()
	var p Probed
	a.Get(t, 200, a.URL("/")).Read(t, &p)
	return p
}

// Standing is what a user sees of an app that stands still.
type Standing struct {
	Formation, Names, Variables string
	Containers                  []string
}

func (a App) Standing(t testing.TB) Standing {
	t.Helper()
	s := Standing{Formation: a.Must(t, "scale", "--json"), Names: a.Must(t, "names", "--json"), Variables: a.Must(t, "env", "--json")}
	for _, c := range a.Ps(t) {
		s.Containers = append(s.Containers, fmt.Sprintf("%s %s %s %s in service: %v, restarts: %d, first process: %d",
			c.Label, c.ID, c.State, c.Atoll.PrivateIP, c.Atoll.InService, c.Atoll.Restarts, c.First(t)))
	}
	return s
}

// WantUnchanged waits until nothing is left of what was refused or failed, and
// all is as before. A change is reported once: before becomes what is now.
func (a App) WantUnchanged(t testing.TB, before *Standing) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for len(a.Ps(t)) != len(before.Containers) && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond) // until the failed containers are gone
	}
	now := a.Standing(t)
	if diff := cmp.Diff(*before, now); diff != "" {
		t.Errorf("%s is not as before (-before +after):\n%s", a.Name, diff)
		*before = now
	}
}

// AwaitGone waits until no process of a container is left.
func AwaitGone(t testing.TB, c Container) {
	t.Helper()
	Await(t, 90*time.Second, c.Label+" to be gone", func() error {
		if pids := c.processes(); len(pids) > 0 {
			return fmt.Errorf("it has the processes %v", pids)
		}
		return nil
	})
}

// Await waits until cond has no error any more.
func Await(t testing.TB, limit time.Duration, what string, cond func() error) {
	t.Helper()
	lab.WaitFor(t, limit, what, func() (bool, error) {
		err := cond()
		return err == nil, err
	})
}

// Example is the folder of an example of the project.
func Example(t testing.TB, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(root(), "examples", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Folder writes files into a folder of the test.
func Folder(t testing.TB, files map[string]string) string {
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

// Types are the options of the probe by process type.
type Types map[string]string

// Probe writes an app whose processes are the probe.
func Probe(t testing.TB, version string, processes Types) string {
	t.Helper()
	program, err := os.ReadFile(filepath.Join(root(), "e2e", "rig", "testdata", "probe.py"))
	if err != nil {
		t.Fatal(err)
	}
	var procfile strings.Builder
	for _, name := range slices.Sorted(maps.Keys(processes)) {
		fmt.Fprintf(&procfile, "%s: python3 probe.py %s\n", name, processes[name])
	}
	return Folder(t, map[string]string{"Procfile": procfile.String(), "VERSION": version, "probe.py": string(program)})
}
