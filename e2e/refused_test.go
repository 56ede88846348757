package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// TestRefusedSources deploys what must not be deployed, over an app that runs.
// Each is refused with what was wrong and what to do, and changes nothing.
func TestRefusedSources(t *testing.T) {
	t.Parallel()
	a, before := runningApp(t, "refused-sources")
	procfiles := map[string]struct{ text, says string }{
		"bad name":       {"web: python3 probe.py\nmy-api: python3 probe.py\n", "Procfile line 2: bad name `my-api`; use 1 to 24 letters and digits"},
		"duplicate":      {"web: python3 probe.py\nweb: true\n", "Procfile line 2: `web` is already on line 1; keep one of the two lines"},
		"no usable line": {"# nothing\n\n", "no process type in it; add a line such as"},
		"no colon":       {"python3 probe.py\n", "no colon in"},
	}
	for name, tt := range procfiles {
		t.Run("Procfile with "+name, func(t *testing.T) {
			dir := rig.Folder(t, map[string]string{"Procfile": tt.text, "probe.py": "", "VERSION": "bad"})
			r := a.Atoll(t, "deploy", dir)
			wantRefusal(t, r, rig.ExitDeployment, tt.says)
			wantNoDeployment(a, t, "build-error", tt.says)
			a.WantUnchanged(t, &before)
		})
	}
	t.Run("nothing that a buildpack knows", func(t *testing.T) {
		wantRefusal(t, a.Atoll(t, "deploy", rig.Folder(t, map[string]string{"README": "?"})), rig.ExitDeployment, "no buildpack recognises this app: add a file that one looks for")
		a.WantUnchanged(t, &before)
	})
	t.Run("no folder", func(t *testing.T) {
		wantRefusal(t, a.Atoll(t, "deploy", "/no/such/folder"), rig.ExitUsage, "no such file or directory")
		a.WantUnchanged(t, &before)
	})
}

// TestRefusedArchives uploads archives that no client of ours would make.
func TestRefusedArchives(t *testing.T) {
	t.Parallel()
	a, before := runningApp(t, "refused-archives")
	// All but the flaw would run.
	good := []rig.Entry{{Name: "app/Procfile", Content: "web: python3 -m http.server $PORT\n"}, {Name: "app/requirements.txt"}}
	const large = 100 << 20
	archives := map[string]struct {
		flaw []rig.Entry
		says string
	}{
		"two folders":                   {[]rig.Entry{{Name: "other/file"}}, `two folders at its root, "app" and "other"; it must have exactly one`},
		"a file at the root":            {[]rig.Entry{{Name: "file"}}, `has "file" at its root, outside of any folder; put everything into one folder`},
		"a path upwards":                {[]rig.Entry{{Name: "app/../../../../../../tmp/atoll-e2e-escape", Content: "out"}}, `climbs out with ".."; pack the folder from its parent`},
		"an absolute path":              {[]rig.Entry{{Name: "/tmp/atoll-e2e-escape", Content: "out"}}, "absolute path"},
		"a link upwards":                {[]rig.Entry{{Name: "app/link", Kind: '2', Link: "../../../../etc"}}, `"link" leads to "../../../../etc", which is outside of the app's folder`},
		"a link to an absolute path":    {[]rig.Entry{{Name: "app/link", Kind: '2', Link: "/etc"}}, "which is outside of the app's folder; make it relative or remove it"},
		"a file behind a link upwards":  {[]rig.Entry{{Name: "app/link", Kind: '2', Link: "../.."}, {Name: "app/link/file", Content: "out"}}, "not a folder"},
		"a hard link to a foreign file": {[]rig.Entry{{Name: "app/link", Kind: '1', Link: "/etc/shadow"}}, "not an earlier file of the archive"},
		"a device":                      {[]rig.Entry{{Name: "app/null", Kind: '3'}}, "is a device; only files, folders and links can be deployed, remove it"},
		"a pipe":                        {[]rig.Entry{{Name: "app/pipe", Kind: '6'}}, "is a named pipe; only files, folders and links"},
		"one file too large":            {[]rig.Entry{{Name: "app/zeros", Zeros: 4 * large}}, "larger than 300 MiB uncompressed; leave out what is not needed"},
		"too much in all":               {[]rig.Entry{{Name: "app/1", Zeros: large}, {Name: "app/2", Zeros: large}, {Name: "app/3", Zeros: large}, {Name: "app/4", Zeros: large}}, "larger than 300 MiB uncompressed"},
	}
	for name, tt := range archives {
		t.Run(name, func(t *testing.T) {
			wantArchiveRefused(a, t, rig.Pack(t, append(good[:2:2], tt.flaw...)), tt.says)
			a.WantUnchanged(t, &before)
		})
	}
	t.Run("cut off", func(t *testing.T) {
		whole := rig.Pack(t, append(good, rig.Entry{Name: "app/more", Content: strings.Repeat("more ", 1000)}))
		wantArchiveRefused(a, t, whole[:len(whole)-20], "the archive is cut off; upload it again")
		a.WantUnchanged(t, &before)
	})
	t.Run("not gzip", func(t *testing.T) {
		authorize := a.Session(t)
		source := newSource(a.Machine, t, authorize)
		p := a.Call(t, http.MethodPut, source.Upload, []byte("PK\x03\x04 is a zip"), nil)
		if p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Body, "must be a tar compressed with gzip") {
			t.Errorf("a zip is answered with %d %s", p.Status, p.Body)
		}
		p = a.Call(t, http.MethodPost, deploymentsURL(a), wish(source), authorize)
		if p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Body, "nothing was uploaded there") {
			t.Errorf("a deployment of nothing is answered with %d %s", p.Status, p.Body)
		}
		a.WantUnchanged(t, &before)
	})
}

// TestRefusedRequests asks for what is not possible.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	a, before := runningApp(t, "refused-requests")
	other := a.App(t, "refused-requests", "refused-other")
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown size":           {[]string{"scale", "web:1:XXL"}, rig.ExitUsage, `"XXL" is no container size; use one of S, M, L, XL, 2XL, 3XL`},
		"unknown type":           {[]string{"scale", "nobody:1"}, rig.ExitUsage, `the app has no process type "nobody"; it has: api, web`},
		"one of two unknown":     {[]string{"scale", "web:2", "nobody:1"}, rig.ExitUsage, `no process type "nobody"`},
		"too many containers":    {[]string{"scale", "web:11"}, rig.ExitUsage, "must be 0 to 10 (got 11)"},
		"no amount":              {[]string{"scale", "web"}, rig.ExitUsage, "not of the form TYPE:AMOUNT"},
		"restart of nobody":      {[]string{"restart", "nobody"}, rig.ExitUsage, `"nobody" is neither a process type nor a running container`},
		"name taken":             {[]string{"rename", other.Name}, rig.ExitUsage, "taken"},
		"name malformed":         {[]string{"rename", "No_Good"}, rig.ExitUsage, "must be 6 to 48 lower-case letters, digits and single hyphens"},
		"variable without value": {[]string{"env", "set", "NAME"}, rig.ExitUsage, "not of the form NAME=VALUE"},
		"variable malformed":     {[]string{"env", "set", "GOOD=1", "_BAD=1"}, rig.ExitUsage, "_BAD"},
		"unset of nothing":       {[]string{"env", "unset", "NOTHING"}, rig.ExitNotFound, "NOTHING"},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, a.Atoll(t, tt.args...), tt.code, tt.says)
			a.WantUnchanged(t, &before)
		})
	}
	t.Run("create a name that is taken", func(t *testing.T) {
		wantRefusal(t, a.Machine.Atoll(t, "create", a.Name), rig.ExitUsage, "taken")
		a.WantUnchanged(t, &before)
	})
	t.Run("create malformed names", func(t *testing.T) {
		for _, name := range []string{"short", "Upper-case", "two--hyphens", "-hyphen-first", strings.Repeat("x", 49), "dot.in-it", "private-network"} {
			if r := a.Machine.Atoll(t, "create", "--", name); r.Code != rig.ExitUsage || !strings.Contains(r.Stderr, "name") {
				t.Errorf("exit code %d, want %d:\n%v", r.Code, rig.ExitUsage, r)
			}
		}
	})
	// The same by the API, without the client's own checks.
	t.Run("API", func(t *testing.T) {
		authorize := a.Session(t)
		for path, body := range map[string]any{
			"/v1/apps":                      map[string]any{"app": map[string]string{"name": "No_Good"}},
			"/v1/apps/" + a.Name + "/scale": map[string]any{"containers": []any{map[string]any{"name": "web", "amount": 1, "size": "XXL"}}},
		} {
			p := a.Call(t, http.MethodPost, rig.APIURL+path, body, authorize)
			var answer struct{ Errors map[string][]string }
			if err := json.Unmarshal([]byte(p.Body), &answer); err != nil || p.Status != http.StatusUnprocessableEntity || len(answer.Errors) == 0 {
				t.Errorf("POST %s: %d %s (%v), want 422 with errors", path, p.Status, p.Body, err)
			}
		}
		a.WantUnchanged(t, &before)
	})
}

// TestOneDeploymentAtATime tries to change an app that is being deployed.
func TestOneDeploymentAtATime(t *testing.T) {
	t.Parallel()
	a, before := runningApp(t, "refused-second")
	g := rig.NewGate(t, a)
	before.Variables = a.Standing(t).Variables
	dir := rig.Probe(t, "2", rig.Types{"web": "", "api": "--private"})
	a.Must(t, "deploy", dir, "--no-follow")
	if addrs := g.Await(t); !strings.Contains(addrs, "eth0") || strings.Contains(addrs, "10.240.") {
		t.Errorf("a build container has these addresses, want eth0 and none of the private network:\n%s", addrs)
	}
	for _, args := range [][]string{{"deploy", dir}, {"scale", "web:2"}, {"restart"}} {
		wantRefusal(t, a.Atoll(t, args...), rig.ExitConflict, "deploy")
	}
	wantRefusal(t, a.Machine.Atoll(t, "destroy", a.Name, "--yes"), rig.ExitConflict, "deploy")
	a.WantUnchanged(t, &before)
	if got := a.Probe(t); got.Version != "1" {
		t.Errorf("version %s serves during the build, want 1", got.Version)
	}

	g.Release()
	r := a.Atoll(t, "deployments", "follow")
	if r.Code != 0 || !strings.Contains(r.Stdout, "the gate is open") {
		t.Errorf("the first deployment did not succeed:\n%v", r)
	}
	if got := a.Probe(t); got.Version != "2" {
		t.Errorf("version %s serves after it, want 2", got.Version)
	}
}

// TestFailedStarts deploys versions that build and do not start.
func TestFailedStarts(t *testing.T) {
	t.Parallel()
	rig.Use(t)
	for name, tt := range map[string]struct{ procfile, status, says, logs string }{
		"ends at once": {"web: echo 'cannot find my settings' && exit 4\nextra: sleep 1000\n", "crashed-error", "web-1 ended with code 4", "cannot find my settings"},
		// Right port, wrong address: nobody but itself can connect.
		"never listens": {"web: python3 -m http.server --bind 127.0.0.1 9999\nextra: sleep 1000\n", "timeout-error", "web-1 was not ready within 1m0s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, before := runningApp(t, "failed-"+strings.ReplaceAll(name, " ", "-"))
			r := a.Atoll(t, "deploy", rig.Folder(t, map[string]string{"Procfile": tt.procfile}))
			wantRefusal(t, r, rig.ExitDeployment, tt.says)
			wantNoDeployment(a, t, tt.status, tt.says)
			if tt.status == "timeout-error" && !strings.Contains(r.String(), "127.0.0.1:9999") {
				t.Errorf("the user is not told where it listens instead:\n%v", r)
			}
			if logs := a.Must(t, "logs", "-n", "100"); !strings.Contains(logs, tt.logs) {
				t.Errorf("the logs do not say why:\n%s", logs)
			}
			a.WantUnchanged(t, &before)
			if got := a.Probe(t); got.Version != "1" {
				t.Errorf("version %s serves, want 1", got.Version)
			}
			a.Deploy(t, rig.Probe(t, "3", rig.Types{"web": "", "api": "--private"}))
			if got := a.Probe(t); got.Version != "3" {
				t.Errorf("version %s serves after another deployment, want 3", got.Version)
			}
		})
	}
}

// runningApp is an app with one web and one private container, version 1.
func runningApp(t *testing.T, name string) (rig.App, rig.Standing) {
	t.Helper()
	m := rig.Use(t)
	a := m.App(t, m.Project(t, name), name)
	a.Deploy(t, rig.Probe(t, "1", rig.Types{"web": "", "api": "--private"}))
	a.Must(t, "scale", "api:1")
	return a, a.Standing(t)
}

// wantRefusal checks how a command failed.
func wantRefusal(t testing.TB, r rig.Result, code int, says string) {
	t.Helper()
	if r.Code != code || !strings.Contains(r.Stderr, says) {
		t.Errorf("exit code %d, want %d and an error that says %q:\n%v", r.Code, code, says, r)
	}
}

// wantNoDeployment checks how the newest deployment failed.
func wantNoDeployment(a rig.App, t testing.TB, status, says string) {
	t.Helper()
	last := a.Deployments(t)[0]
	if last.Status != status || !strings.Contains(last.Error, says) {
		t.Errorf("the deployment is %+v, want %s with %q", last, status, says)
	}
	if out := a.Must(t, "deployments", "logs", last.ID); !strings.Contains(out, says) {
		t.Errorf("its output does not say %q:\n%s", says, out)
	}
}

// source is where an archive goes, and where it is then.
type source struct {
	Upload   string `json:"upload_url"`
	Download string `json:"download_url"`
}

func newSource(m *rig.Machine, t testing.TB, authorize func(*http.Request)) source {
	t.Helper()
	p := m.Call(t, http.MethodPost, rig.APIURL+"/v1/sources", struct{}{}, authorize)
	var answer struct{ Source source }
	p.Read(t, &answer)
	if p.Status != http.StatusCreated {
		t.Fatalf("no source: %d %s", p.Status, p.Body)
	}
	return answer.Source
}

func deploymentsURL(a rig.App) string { return rig.APIURL + "/v1/apps/" + a.Name + "/deployments" }

// wish is the body of a request for a deployment.
func wish(s source) any {
	return map[string]any{"deployment": map[string]string{"source_url": s.Download, "git_ref": ""}}
}

// wantArchiveRefused uploads an archive, deploys it, and checks how that fails.
func wantArchiveRefused(a rig.App, t testing.TB, archive []byte, says string) {
	t.Helper()
	authorize := a.Session(t)
	source := newSource(a.Machine, t, authorize)
	if p := a.Call(t, http.MethodPut, source.Upload, archive, nil); p.Status != http.StatusOK {
		t.Fatalf("the upload is answered with %d %s", p.Status, p.Body)
	}
	p := a.Call(t, http.MethodPost, deploymentsURL(a), wish(source), authorize)
	if p.Status != http.StatusCreated {
		t.Fatalf("the deployment is answered with %d %s", p.Status, p.Body)
	}
	var d struct{ Deployment rig.Deployment }
	p.Read(t, &d)
	rig.Await(t, 2*time.Minute, "the deployment to fail", func() error {
		a.Call(t, http.MethodGet, deploymentsURL(a)+"/"+d.Deployment.ID, nil, authorize).Read(t, &d)
		switch d.Deployment.Status {
		case "queued", "building", "pushing", "starting":
			return errStillRunning
		}
		return nil
	})
	if d.Deployment.Status != "build-error" || !strings.Contains(d.Deployment.Error, says) {
		t.Errorf("it ended as %s: %s; want build-error with %q", d.Deployment.Status, d.Deployment.Error, says)
	}
}

var errStillRunning = errors.New("it still runs")
