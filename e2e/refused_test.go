package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
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
			dir := folder(t, map[string]string{"Procfile": tt.text, "probe.py": "", "VERSION": "bad"})
			r := a.atoll(t, "deploy", dir)
			wantRefusal(t, r, exitDeployment, tt.says)
			a.wantNoDeployment(t, "build-error", tt.says)
			a.wantUnchanged(t, &before)
		})
	}
	t.Run("nothing that a buildpack knows", func(t *testing.T) {
		wantRefusal(t, a.atoll(t, "deploy", folder(t, map[string]string{"README": "?"})), exitDeployment, "no buildpack recognises this app: add a file that one looks for")
		a.wantUnchanged(t, &before)
	})
	t.Run("no folder", func(t *testing.T) {
		wantRefusal(t, a.atoll(t, "deploy", "/no/such/folder"), exitUsage, "no such file or directory")
		a.wantUnchanged(t, &before)
	})
}

// TestRefusedArchives uploads archives that no client of ours would make.
func TestRefusedArchives(t *testing.T) {
	t.Parallel()
	a, before := runningApp(t, "refused-archives")
	// All but the flaw would run.
	good := []entry{{name: "app/Procfile", content: "web: python3 -m http.server $PORT\n"}, {name: "app/requirements.txt"}}
	const large = 100 << 20
	archives := map[string]struct {
		flaw []entry
		says string
	}{
		"two folders":                   {[]entry{{name: "other/file"}}, `two folders at its root, "app" and "other"; it must have exactly one`},
		"a file at the root":            {[]entry{{name: "file"}}, `has "file" at its root, outside of any folder; put everything into one folder`},
		"a path upwards":                {[]entry{{name: "app/../../../../../../tmp/atoll-e2e-escape", content: "out"}}, `climbs out with ".."; pack the folder from its parent`},
		"an absolute path":              {[]entry{{name: "/tmp/atoll-e2e-escape", content: "out"}}, "absolute path"},
		"a link upwards":                {[]entry{{name: "app/link", kind: '2', link: "../../../../etc"}}, `"link" leads to "../../../../etc", which is outside of the app's folder`},
		"a link to an absolute path":    {[]entry{{name: "app/link", kind: '2', link: "/etc"}}, "which is outside of the app's folder; make it relative or remove it"},
		"a file behind a link upwards":  {[]entry{{name: "app/link", kind: '2', link: "../.."}, {name: "app/link/file", content: "out"}}, "not a folder"},
		"a hard link to a foreign file": {[]entry{{name: "app/link", kind: '1', link: "/etc/shadow"}}, "not an earlier file of the archive"},
		"a device":                      {[]entry{{name: "app/null", kind: '3'}}, "is a device; only files, folders and links can be deployed, remove it"},
		"a pipe":                        {[]entry{{name: "app/pipe", kind: '6'}}, "is a named pipe; only files, folders and links"},
		"one file too large":            {[]entry{{name: "app/zeros", zeros: 4 * large}}, "larger than 300 MiB uncompressed; leave out what is not needed"},
		"too much in all":               {[]entry{{name: "app/1", zeros: large}, {name: "app/2", zeros: large}, {name: "app/3", zeros: large}, {name: "app/4", zeros: large}}, "larger than 300 MiB uncompressed"},
	}
	for name, tt := range archives {
		t.Run(name, func(t *testing.T) {
			a.wantArchiveRefused(t, pack(t, append(good[:2:2], tt.flaw...)), tt.says)
			a.wantUnchanged(t, &before)
		})
	}
	t.Run("cut off", func(t *testing.T) {
		whole := pack(t, append(good, entry{name: "app/more", content: strings.Repeat("more ", 1000)}))
		a.wantArchiveRefused(t, whole[:len(whole)-20], "the archive is cut off; upload it again")
		a.wantUnchanged(t, &before)
	})
	t.Run("not gzip", func(t *testing.T) {
		authorize := a.session(t)
		source := a.source(t, authorize)
		p := a.call(t, http.MethodPut, source.Upload, []byte("PK\x03\x04 is a zip"), nil)
		if p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, "must be a tar compressed with gzip") {
			t.Errorf("a zip is answered with %d %s", p.status, p.body)
		}
		p = a.call(t, http.MethodPost, a.deploymentsURL(), wish(source), authorize)
		if p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, "nothing was uploaded there") {
			t.Errorf("a deployment of nothing is answered with %d %s", p.status, p.body)
		}
		a.wantUnchanged(t, &before)
	})
}

// TestRefusedRequests asks for what is not possible.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	a, before := runningApp(t, "refused-requests")
	other := a.app(t, "refused-requests", "refused-other")
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown size":           {[]string{"scale", "web:1:XXL"}, exitUsage, `"XXL" is no container size; use one of S, M, L, XL, 2XL, 3XL`},
		"unknown type":           {[]string{"scale", "nobody:1"}, exitUsage, `the app has no process type "nobody"; it has: api, web`},
		"one of two unknown":     {[]string{"scale", "web:2", "nobody:1"}, exitUsage, `no process type "nobody"`},
		"too many containers":    {[]string{"scale", "web:11"}, exitUsage, "must be 0 to 10 (got 11)"},
		"no amount":              {[]string{"scale", "web"}, exitUsage, "not of the form TYPE:AMOUNT"},
		"restart of nobody":      {[]string{"restart", "nobody"}, exitUsage, `"nobody" is neither a process type nor a running container`},
		"name taken":             {[]string{"rename", other.name}, exitUsage, "taken"},
		"name malformed":         {[]string{"rename", "No_Good"}, exitUsage, "must be 6 to 48 lower-case letters, digits and single hyphens"},
		"variable without value": {[]string{"env", "set", "NAME"}, exitUsage, "not of the form NAME=VALUE"},
		"variable malformed":     {[]string{"env", "set", "GOOD=1", "_BAD=1"}, exitUsage, "_BAD"},
		"unset of nothing":       {[]string{"env", "unset", "NOTHING"}, exitNotFound, "NOTHING"},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, a.atoll(t, tt.args...), tt.code, tt.says)
			a.wantUnchanged(t, &before)
		})
	}
	t.Run("create a name that is taken", func(t *testing.T) {
		wantRefusal(t, a.machine.atoll(t, "create", a.name), exitUsage, "taken")
		a.wantUnchanged(t, &before)
	})
	t.Run("create malformed names", func(t *testing.T) {
		for _, name := range []string{"short", "Upper-case", "two--hyphens", "-hyphen-first", strings.Repeat("x", 49), "dot.in-it", "private-network"} {
			if r := a.machine.atoll(t, "create", "--", name); r.code != exitUsage || !strings.Contains(r.stderr, "name") {
				t.Errorf("exit code %d, want %d:\n%v", r.code, exitUsage, r)
			}
		}
	})
	// The same by the API, without the client's own checks.
	t.Run("API", func(t *testing.T) {
		authorize := a.session(t)
		for path, body := range map[string]any{
			"/v1/apps":                      map[string]any{"app": map[string]string{"name": "No_Good"}},
			"/v1/apps/" + a.name + "/scale": map[string]any{"containers": []any{map[string]any{"name": "web", "amount": 1, "size": "XXL"}}},
		} {
			p := a.call(t, http.MethodPost, apiURL+path, body, authorize)
			var answer struct{ Errors map[string][]string }
			if err := json.Unmarshal([]byte(p.body), &answer); err != nil || p.status != http.StatusUnprocessableEntity || len(answer.Errors) == 0 {
				t.Errorf("POST %s: %d %s (%v), want 422 with errors", path, p.status, p.body, err)
			}
		}
		a.wantUnchanged(t, &before)
	})
}

// TestOneDeploymentAtATime tries to change an app that is being deployed.
func TestOneDeploymentAtATime(t *testing.T) {
	t.Parallel()
	a, before := runningApp(t, "refused-second")
	g := newGate(t, a)
	before.Variables = a.standing(t).Variables
	dir := probe(t, "2", types{"web": "", "api": "--private"})
	a.must(t, "deploy", dir, "--no-follow")
	if addrs := g.await(t); !strings.Contains(addrs, "eth0") || strings.Contains(addrs, "10.240.") {
		t.Errorf("a build container has these addresses, want eth0 and none of the private network:\n%s", addrs)
	}
	for _, args := range [][]string{{"deploy", dir}, {"scale", "web:2"}, {"restart"}} {
		wantRefusal(t, a.atoll(t, args...), exitConflict, "deploy")
	}
	wantRefusal(t, a.machine.atoll(t, "destroy", a.name, "--yes"), exitConflict, "deploy")
	a.wantUnchanged(t, &before)
	if got := a.probe(t); got.Version != "1" {
		t.Errorf("version %s serves during the build, want 1", got.Version)
	}

	g.release()
	r := a.atoll(t, "deployments", "follow")
	if r.code != 0 || !strings.Contains(r.stdout, "the gate is open") {
		t.Errorf("the first deployment did not succeed:\n%v", r)
	}
	if got := a.probe(t); got.Version != "2" {
		t.Errorf("version %s serves after it, want 2", got.Version)
	}
}

// TestFailedStarts deploys versions that build and do not start.
func TestFailedStarts(t *testing.T) {
	t.Parallel()
	use(t)
	for name, tt := range map[string]struct{ procfile, status, says, logs string }{
		"ends at once": {"web: echo 'cannot find my settings' && exit 4\nextra: sleep 1000\n", "crashed-error", "web-1 ended with code 4", "cannot find my settings"},
		// Right port, wrong address: nobody but itself can connect.
		"never listens": {"web: python3 -m http.server --bind 127.0.0.1 9999\nextra: sleep 1000\n", "timeout-error", "web-1 was not ready within 1m0s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, before := runningApp(t, "failed-"+strings.ReplaceAll(name, " ", "-"))
			r := a.atoll(t, "deploy", folder(t, map[string]string{"Procfile": tt.procfile}))
			wantRefusal(t, r, exitDeployment, tt.says)
			a.wantNoDeployment(t, tt.status, tt.says)
			if tt.status == "timeout-error" && !strings.Contains(r.String(), "127.0.0.1:9999") {
				t.Errorf("the user is not told where it listens instead:\n%v", r)
			}
			if logs := a.must(t, "logs", "-n", "100"); !strings.Contains(logs, tt.logs) {
				t.Errorf("the logs do not say why:\n%s", logs)
			}
			a.wantUnchanged(t, &before)
			if got := a.probe(t); got.Version != "1" {
				t.Errorf("version %s serves, want 1", got.Version)
			}
			a.deploy(t, probe(t, "3", types{"web": "", "api": "--private"}))
			if got := a.probe(t); got.Version != "3" {
				t.Errorf("version %s serves after another deployment, want 3", got.Version)
			}
		})
	}
}

// runningApp is an app with one web and one private container, version 1.
func runningApp(t *testing.T, name string) (app, standing) {
	t.Helper()
	m := use(t)
	a := m.app(t, m.project(t, name), name)
	a.deploy(t, probe(t, "1", types{"web": "", "api": "--private"}))
	a.must(t, "scale", "api:1")
	return a, a.standing(t)
}

// wantRefusal checks how a command failed.
func wantRefusal(t testing.TB, r result, code int, says string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stderr, says) {
		t.Errorf("exit code %d, want %d and an error that says %q:\n%v", r.code, code, says, r)
	}
}

// wantNoDeployment checks how the newest deployment failed.
func (a app) wantNoDeployment(t testing.TB, status, says string) {
	t.Helper()
	last := a.deployments(t)[0]
	if last.Status != status || !strings.Contains(last.Error, says) {
		t.Errorf("the deployment is %+v, want %s with %q", last, status, says)
	}
	if out := a.must(t, "deployments", "logs", last.ID); !strings.Contains(out, says) {
		t.Errorf("its output does not say %q:\n%s", says, out)
	}
}

// source is where an archive goes, and where it is then.
type source struct {
	Upload   string `json:"upload_url"`
	Download string `json:"download_url"`
}

func (m *machine) source(t testing.TB, authorize func(*http.Request)) source {
	t.Helper()
	p := m.call(t, http.MethodPost, apiURL+"/v1/sources", struct{}{}, authorize)
	var answer struct{ Source source }
	p.read(t, &answer)
	if p.status != http.StatusCreated {
		t.Fatalf("no source: %d %s", p.status, p.body)
	}
	return answer.Source
}

func (a app) deploymentsURL() string { return apiURL + "/v1/apps/" + a.name + "/deployments" }

// wish is the body of a request for a deployment.
func wish(s source) any {
	return map[string]any{"deployment": map[string]string{"source_url": s.Download, "git_ref": ""}}
}

// wantArchiveRefused uploads an archive, deploys it, and checks how that fails.
func (a app) wantArchiveRefused(t testing.TB, archive []byte, says string) {
	t.Helper()
	authorize := a.session(t)
	source := a.source(t, authorize)
	if p := a.call(t, http.MethodPut, source.Upload, archive, nil); p.status != http.StatusOK {
		t.Fatalf("the upload is answered with %d %s", p.status, p.body)
	}
	p := a.call(t, http.MethodPost, a.deploymentsURL(), wish(source), authorize)
	if p.status != http.StatusCreated {
		t.Fatalf("the deployment is answered with %d %s", p.status, p.body)
	}
	var d struct{ Deployment deployment }
	p.read(t, &d)
	await(t, 2*time.Minute, "the deployment to fail", func() error {
		a.call(t, http.MethodGet, a.deploymentsURL()+"/"+d.Deployment.ID, nil, authorize).read(t, &d)
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
