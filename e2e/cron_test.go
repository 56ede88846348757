package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// TestCron deploys a scheduled task that is due soon.
func TestCron(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	a := m.App(t, m.Project(t, "cron"), "cron-service")
	dir := rig.Probe(t, "1", rig.Types{"web": "", "api": "--private"})
	cron := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "cron.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cron(`{"jobs": [{"command": "*/5 * * * * bin/purge"}]}`)
	if r := a.Atoll(t, "deploy", dir); r.Code != rig.ExitDeployment || !strings.Contains(r.Stdout+r.Stderr, "smallest interval is 10m0s") {
		t.Errorf("a task every 5 minutes: %v", r)
	}
	// Late enough for the deployment to be over before.
	due := time.Now().UTC().Add(100 * time.Second).Truncate(time.Minute).Add(time.Minute)
	cron(fmt.Sprintf(`{"jobs": [{"command": "%d %d * * * echo task as $CONTAINER; curl -sSf http://api.cron-service.internal:3000/ >/dev/null && echo api answers; sleep 20", "size": "S"}]}`,
		due.Minute(), due.Hour()))
	a.Deploy(t, dir)
	a.Must(t, "scale", "api:1")
	if tasks := a.Must(t, "cron-tasks", "--json"); !strings.Contains(tasks, due.Format("2006-01-02T15:04:00Z")) || strings.Contains(tasks, "last_execution_date") {
		t.Errorf("before it is due at %v, the tasks are %s", due, tasks)
	}
	rig.Await(t, time.Until(due)+time.Minute, "the task to run", func() error {
		if log := a.Must(t, "logs", "-n", "100", "-F", "cron"); !strings.Contains(log, "[cron-1] api answers") {
			return fmt.Errorf("there is %q", log)
		}
		return nil
	})
	late := time.Since(due)
	if late < 0 {
		t.Errorf("it ran %v before it was due", -late)
	}
	// While it sleeps: it has a name of its own, and is never in a service's.
	list := a.Ps(t)
	i := slices.IndexFunc(list, func(c rig.Container) bool { return c.Label == "cron-1" })
	if i < 0 {
		t.Fatalf("there is no container of the task: %+v", list)
	}
	task, web, api := list[i], a.Container(t, "web-1"), a.Container(t, "api-1")
	const own = "1.cron.cron-service.internal."
	web.WantAnswer(t, own, "A", "NOERROR", "5 A "+task.Atoll.PrivateIP)
	web.WantAnswer(t, "cron.cron-service.internal.", "A", "NOERROR")
	web.WantAnswer(t, "cron-service.internal.", "A", "NOERROR", "5 A "+web.Atoll.PrivateIP)
	web.WantAnswer(t, "api.cron-service.internal.", "A", "NOERROR", "5 A "+api.Atoll.PrivateIP)
	if names := a.Must(t, "names", "--json"); !strings.Contains(names, `"`+strings.TrimSuffix(own, ".")) {
		t.Errorf("%s is not among the names: %s", own, names)
	}
	rig.Report(t, "members: scheduled tasks", "cron-1 reached a private neighbour by name within %v of its minute, had its own name and was in no service name", late.Round(time.Second))
	rig.Await(t, time.Minute, "its container to be gone", func() error {
		if list := a.Ps(t); len(list) != 2 {
			return fmt.Errorf("there is %+v", list)
		}
		return nil
	})
	web.WantAnswer(t, own, "A", "NXDOMAIN")
	if tasks := a.Must(t, "cron-tasks", "--json"); !strings.Contains(tasks, "last_execution_date") {
		t.Errorf("after it ran, the tasks are %s", tasks)
	}
	cron(`{}`)
	a.Deploy(t, dir)
	if tasks := a.Must(t, "cron-tasks", "--json"); strings.TrimSpace(tasks) != "[]" {
		t.Errorf("without a task, the tasks are %s", tasks)
	}
}
