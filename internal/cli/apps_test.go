package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/client/apitest"
)

func TestProjects(t *testing.T) {
	sh := newShell(t)
	sh.run("projects").want(ExitOK, `NAME     DEFAULT  CREATED              ID
default  yes      2026-11-23 12:00:00  prj-00000000-0000-4000-8000-000000000001
`, "")
	sh.run("projects", "create", "shop").want(ExitOK, "", "Created the project shop (prj-00000000-0000-4000-8000-000000000002).\nPut an app into it with `atoll create NAME --project shop`.\n")
	sh.run("projects", "create", "shop").want(ExitUsage, "", "Error: cannot create the project: name has already been taken\n")
	sh.run("projects", "create", "No Good").has(ExitUsage, "must be 1 to 64 characters")
	sh.run("create", "gateway", "--project", "shop").has(ExitOK)
	sh.run("projects", "show", "shop").want(ExitOK, `Name              shop
Id                prj-00000000-0000-4000-8000-000000000002
Default           no
Created           2026-11-23 12:00:00
Apps              gateway
Private network   pn-1
Range             10.240.0.0/22
Addresses in use  2 of 1022
                  10.240.0.1 10.240.0.2
`, "")
	sh.run("projects", "show", "shops").want(ExitNotFound, "", "Error: you have no project \"shops\"\n`atoll projects` lists your projects.\n")
	sh.run("projects", "rename", "shop", "store").want(ExitOK, "", "Renamed the project shop to store.\n")
	sh.run("projects", "delete", "default").has(ExitConflict, "the default project cannot be deleted", "`atoll projects show default`")
	sh.run("projects", "delete", "store").want(ExitOK, "", "Deleted the project store.\n")
	sh.run("projects", "sow").has(ExitUsage, `unexpected argument "sow"`)
}

func TestCreateAndLink(t *testing.T) {
	sh := newShell(t)
	sh.run("create", "gateway", "--link").want(ExitOK, "",
		"Created the app gateway (ap-00000000-0000-4000-8000-000000000002) in the project default.\nDeploy the current folder with `atoll deploy`; it will be served at http://gateway.example.test\n")
	if content, err := os.ReadFile(".atoll"); err != nil || string(content) != "gateway\n" {
		t.Errorf("%q, %v", content, err)
	}
	sh.run("create", "another", "--link").has(ExitConflict, "this folder has a file .atoll already")
	if n := strings.Count(strings.Join(sh.server.Requests(), "\n"), "POST /v1/apps"); n != 1 {
		t.Errorf("%d apps were created, want 1", n)
	}
	sh.file("deep/down/file", "")
	t.Chdir("deep/down")
	sh.run("info").has(ExitOK, "Name             gateway\n", "Deployed         never\n", "Formation        web:1:M\n")
	sh.run("rename", "frontdoor").has(ExitOK, "Renamed gateway to frontdoor. It is served at http://frontdoor.example.test now.", "Updated ")
	sh.run("info").has(ExitOK, "frontdoor")
	sh.run("destroy", "frontdoor", "--yes").has(ExitOK, "Destroyed the app frontdoor.", ".atoll still names it")
}

func TestAppErrors(t *testing.T) {
	sh := newShell(t)
	sh.run("create").has(ExitUsage, "NAME is missing", "See `atoll create --help`.")
	sh.run("create", "x").has(ExitUsage, "must be 6 to 48 lower-case letters")
	sh.run("create", "gateway", "--project", "none").has(ExitNotFound, `you have no project "none"`)
	sh.run("create", "gateway").has(ExitOK)
	sh.run("create", "gateway").want(ExitUsage, "", "Error: cannot create the app: name has already been taken\n")
	sh.run("info").has(ExitUsage, "no app is chosen", "--app NAME or ATOLL_APP")
	sh.run("info", "-a", "").has(ExitUsage, "--app is empty")
	sh.run("info", "-a", "gatewy").want(ExitNotFound, "", "Error: cannot show the app: app gatewy was not found\n`atoll apps` lists your apps.\n")
	sh.file(".atoll", "gate way\n")
	sh.run("info").has(ExitUsage, ".atoll must hold the name of an app")
	sh.env["ATOLL_APP"] = "gateway"
	sh.run("info").has(ExitOK, "gateway")
	sh.run("apps", "--project", "nope").has(ExitNotFound, "you have no project")
	sh.run("frobnicate").has(ExitUsage, "unknown command", "See `atoll --help`.")
	sh.run("apps", "--frob").has(ExitUsage, "unknown flag", "See `atoll apps --help`.")
}

func TestServerErrors(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		code   int
		stderr string
	}{
		{401, `{"error":""}`, ExitAuth, "Error: cannot list the apps: the server does not accept the credentials\nLog in with `atoll login`, or set ATOLL_URL and ATOLL_TOKEN.\n"},
		{403, `{"error":"not yours"}`, ExitAuth, "Error: cannot list the apps: not yours\n"},
		{409, `{"error":"busy"}`, ExitConflict, "Error: cannot list the apps: busy\n"},
		{422, `{"errors":{"b":["two"],"a":["one"]}}`, ExitUsage, "Error: cannot list the apps: a one; b two\n"},
		{500, `{}`, ExitFailure, "Error: cannot list the apps: the server failed (500 Internal Server Error); its log says why\n"},
		{200, `<html>`, ExitFailure, "Error: cannot list the apps: the server at URL answered GET /v1/apps with 200 and no JSON: check that the URL is that of an Atoll API\n"},
	} {
		sh := newShell(t)
		sh.server.Override("GET /v1/apps", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.body))
		})
		r := sh.run("apps")
		r.stderr = strings.ReplaceAll(r.stderr, sh.server.URL, "URL")
		r.want(test.code, "", test.stderr)
	}
}

func TestApps(t *testing.T) {
	sh := newShell(t)
	sh.run("apps").want(ExitOK, "NAME  STATUS  PROJECT  DEPLOYED  URL\n", "")
	sh.run("apps", "--json").want(ExitOK, "[]\n", "")
	sh.server.AddApp("gateway")
	sh.runningApp("catalog")
	sh.run("apps").want(ExitOK, `NAME     STATUS   PROJECT  DEPLOYED  URL
gateway  new      default  -         http://gateway.example.test
catalog  running  default  -         http://catalog.example.test
`, "")
	sh.colour = true
	sh.run("apps").has(ExitOK, "\x1b[32mrunning\x1b[0m  default", "\x1b[2mnew\x1b[0m      default")
	sh.env["NO_COLOR"] = "1"
	if r := sh.run("apps"); strings.Contains(r.stdout, "\x1b") {
		t.Errorf("colour in spite of NO_COLOR: %q", r.stdout)
	}
	var apps []map[string]any
	if err := json.Unmarshal([]byte(sh.run("apps", "--json").stdout), &apps); err != nil || len(apps) != 2 || apps[0]["name"] != "gateway" {
		t.Errorf("%v, %v", apps, err)
	}
}

func TestDestroyAsks(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("gateway")
	sh.run("destroy").has(ExitUsage, "NAME is missing")
	sh.run("destroy", "gateway").has(ExitUsage, "there is no terminal to confirm on: add --yes")
	sh.terminal, sh.stdin = true, strings.NewReader("gatewayy\n")
	sh.run("destroy", "gateway").has(ExitFailure, "nothing was destroyed")
	sh.run("info", "-a", "gateway").has(ExitOK)
	sh.stdin = strings.NewReader("gateway\n")
	sh.run("destroy", "gateway").want(ExitOK, "", "This deletes the app gateway and all that belongs to it, for good.\nType its name to go on: Destroyed the app gateway.\n")
	sh.run("destroy", "gateway", "--yes").has(ExitNotFound, "app gateway was not found")
}

func TestEnv(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("gateway")
	sh.run("env", "set", "B=it's", "A=1", "C=$A", "-a", "gateway").want(ExitOK, "", "Set 3 variables of gateway.\nNew containers will have it; `atoll restart -a gateway` replaces those that run.\n")
	sh.env["ATOLL_APP"] = "gateway"
	sh.run("env").want(ExitOK, "A=1\nB='it'\\''s'\nC='$A'\n", "")
	sh.run("env", "get", "C").want(ExitOK, "1\n", "")
	sh.run("env", "get", "D").want(ExitNotFound, "", "Error: the app gateway has no variable D\n`atoll env` lists the variables.\n")
	sh.run("env", "unset", "A", "D").has(ExitNotFound, "has no variable D", "nothing was removed")
	sh.run("env", "unset", "A", "A", "B").has(ExitOK, "Removed 2 variables")
	sh.run("env").want(ExitOK, "C='$A'\n", "")
	sh.run("env", "set", "A").has(ExitUsage, `"A" is not of the form NAME=VALUE`)
	sh.run("env", "set", "_A=1").has(ExitUsage, "not starting with an underscore")
	sh.run("env", "set", "A=1", "A=2").has(ExitUsage, "A is given twice")
	sh.run("env", "set", "A="+strings.Repeat("x", 32769)).has(ExitUsage, "at most 32768")
	sh.run("env", "set").has(ExitUsage, "NAME=VALUE is missing")
	sh.run("env", "--json").has(ExitOK, `"name": "C"`)
}

func TestNames(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("gateway")
	sh.run("names", "-a", "gateway").want(ExitOK, `SHORT NAME               TYPE  CONTAINER  NAME
gateway.internal.        web   all        ap-00000000-0000-4000-8000-000000000002.pn-1.private-network.internal.
web.gateway.internal.    web   all        web.ap-00000000-0000-4000-8000-000000000002.pn-1.private-network.internal.
1.web.gateway.internal.  web   1          1.web.ap-00000000-0000-4000-8000-000000000002.pn-1.private-network.internal.
`, "")
	sh.run("names", "-a", "gateway", "--json").has(ExitOK, `"short_name": "1.web.gateway.internal."`, `"number": 1`)
	sh.run("names", "-a", "missing").has(ExitNotFound)
}

func TestEvents(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("gateway")
	sh.server.AddEvent("gateway", "scale", apitest.Object{"previous_containers": apitest.Object{"web": "1:M"}, "containers": apitest.Object{"web": "2:M"}})
	sh.server.AddEvent("gateway", "new_variable", apitest.Object{"name": "KEY", "value": "two\nlines", "old_value": nil})
	sh.run("events", "-a", "gateway").want(ExitOK, `TIME                 EVENT         ON       BY    DETAILS
2026-11-23 12:00:00  new_variable  gateway  jane  name=KEY value=two lines
2026-11-23 12:00:00  scale         gateway  jane  containers={"web":"2:M"} previous_containers={"web":"1:M"}
`, "")
	sh.run("events", "--all", "--json").want(ExitOK, "[]\n", "")
	sh.run("events", "--all", "--page", "0").has(ExitUsage, "at least 1")
}
