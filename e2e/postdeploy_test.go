package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// TestPostdeploy deploys versions with hooks that work and that fail.
func TestPostdeploy(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	project := m.Project(t, "hooks")
	backend, a := m.App(t, project, "hooks-backend"), m.App(t, project, "hooks-service")
	backend.Must(t, "scale", "web:0")
	backend.Deploy(t, rig.Probe(t, "1", rig.Types{"api": "--private"}))
	backend.Must(t, "scale", "api:1")
	a.Deploy(t, rig.Probe(t, "1", rig.Types{"web": ""}))
	old := a.Container(t, "web-1")

	// The hook runs in the new version, as a member of the network, while the
	// old version serves and the new containers wait.
	hook := `echo hook of $(cat VERSION) as $CONTAINER, PORT=$PORT; ` +
		`getent hosts ${SCALINGO_PRIVATE_HOSTNAME%.} | awk '{print ($1 == "'$ATOLL_PRIVATE_IP'") ? "own name resolves" : "own name is " $1}'; ` +
		`getent ahostsv4 hooks-service.internal | awk '{print "web is " $1}' | sort -u; ` +
		`curl -sSf http://api.hooks-backend.internal:3000/ >/dev/null && echo backend answers`
	dir := rig.Probe(t, "2", rig.Types{"web": ""})
	appendFile(t, dir, "Procfile", "postdeploy: "+hook+"\n")
	out := a.Must(t, "deploy", dir)
	for _, want := range []string{"Running the postdeploy hook", "hook of 2 as postdeploy-1, PORT=\n", "own name resolves\n",
		"web is " + old.Atoll.PrivateIP + "\n", "backend answers\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the deployment does not say %q:\n%s", want, out)
		}
	}
	if p := a.Probe(t); p.Version != "2" {
		t.Errorf("after the deployment version %s serves", p.Version)
	}
	if log := a.Must(t, "logs", "-n", "100", "-F", "postdeploy"); !strings.Contains(log, "[postdeploy-1] backend answers") {
		t.Errorf("the log of the hook is %q", log)
	}
	for _, c := range a.Ps(t) {
		if c.Type == "postdeploy" {
			t.Errorf("the hook is still there: %+v", c)
		}
	}
	if formation := a.Must(t, "scale"); strings.Contains(formation, "postdeploy") {
		t.Errorf("the hook is in the formation:\n%s", formation)
	}

	rig.Report(t, "members: postdeploy hooks", "postdeploy-1 resolved its own name and reached a neighbour; the service's names stayed with the old version")

	// One that fails leaves everything as it was.
	rig.Await(t, time.Minute, "the old version to be gone", func() error {
		if list := a.Ps(t); len(list) != 1 {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
	before := a.Standing(t)
	dir = rig.Probe(t, "3", rig.Types{"web": "", "extra": ""})
	appendFile(t, dir, "Procfile", "postdeploy: echo about to fail; exit 3\n")
	r := a.Atoll(t, "deploy", dir)
	if r.Code != rig.ExitDeployment || !strings.Contains(r.Stdout, "about to fail") {
		t.Errorf("a failing hook: %v", r)
	}
	if d := a.Deployments(t)[0]; d.Status != "hook-error" || !strings.Contains(d.Error, "exit code 3") {
		t.Errorf("the deployment is %+v", d)
	}
	a.WantUnchanged(t, &before)
	if p := a.Probe(t); p.Version != "2" {
		t.Errorf("version %s serves", p.Version)
	}
}

func appendFile(t *testing.T, dir, name, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
