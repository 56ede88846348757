package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/client/apitest"
)

func deployShell(t *testing.T, script func(*apitest.Deployment)) *shell {
	sh := newShell(t)
	sh.server.AddApp("gateway")
	sh.server.Script = script
	sh.file("src/main.go", "package main\n")
	sh.file("src/Procfile", "web: ./server\n")
	return sh
}

const deploymentID = "00000000-0000-4000-8000-000000000004"

func TestDeploy(t *testing.T) {
	sh := deployShell(t, func(d *apitest.Deployment) {
		if !bytes.HasPrefix(d.Archive, []byte{0x1f, 0x8b}) {
			t.Error("the upload is no gzip")
		}
		d.AwaitStream()
		d.Status("building")
		d.Log("compiling")
		d.Status("starting")
		d.Status("success")
	})
	r := sh.run("deploy", "src", "-a", "gateway", "--ref", "v1")
	r.has(ExitOK, "==> queued\n==> building\ncompiling\n==> starting\n==> success\n\nDeployed gateway in 7 s: http://gateway.example.test\n")
	for _, text := range []string{"Packing ", "Packed 2 files into ", "Uploaded "} {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("%q is not in stderr:\n%s", text, r.stderr)
		}
	}
	sh.run("deployments", "-a", "gateway").want(ExitOK, `ID                                    STATUS   REF  BY    STARTED              TOOK  IMAGE
00000000-0000-4000-8000-000000000004  success  v1   jane  2026-11-23 12:00:00  7 s   -
`, "")
	sh.run("deployments", "logs", "-a", "gateway").want(ExitOK, "compiling", "")
	sh.run("deployments", "logs", "nope", "-a", "gateway").has(ExitNotFound, "the deployment was not found", "`atoll deployments` lists")
	sh.run("deployments", "follow", "-a", "gateway").has(ExitOK, "compiling", "Deployed gateway")
}

func TestDeployJSON(t *testing.T) {
	sh := deployShell(t, func(d *apitest.Deployment) { d.Log("out\n"); d.Status("success") })
	r := sh.run("deploy", "src", "-a", "gateway", "--json")
	var d struct{ Status string }
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil || d.Status != "success" {
		t.Errorf("%q: %v", r.stdout, err)
	}
	r.has(ExitOK, "out\n")
}

func TestDeployFailures(t *testing.T) {
	for status, says := range map[string]string{
		"build-error":   "the build failed\nThe output above says why; `atoll deployments logs " + deploymentID + " -a gateway` shows it again.\n",
		"crashed-error": "a container ended while it started\n`atoll logs -n 100 -a gateway` shows what it said.\n",
		"timeout-error": "web or tcp did not accept connections on $PORT in time\nListen on 0.0.0.0:$PORT",
		"hook-error":    "the postdeploy hook failed\n",
		"aborted":       "it was aborted before it began\n",
		"new-error":     "it ended as new-error\n",
	} {
		sh := deployShell(t, func(d *apitest.Deployment) { d.Status(status) })
		sh.run("deploy", "src", "-a", "gateway").has(ExitDeployment, "Error: the deployment failed ("+status+"): "+says)
	}
	sh := deployShell(t, func(d *apitest.Deployment) { d.Set("error", "Procfile line 2: bad name"); d.Status("build-error") })
	sh.run("deploy", "src", "-a", "gateway").has(ExitDeployment, "Error: the deployment failed (build-error): Procfile line 2: bad name\n")
}

func TestDeployRefusals(t *testing.T) {
	sh := deployShell(t, func(*apitest.Deployment) {})
	sh.run("deploy", "nowhere", "-a", "gateway").has(ExitUsage, "cannot deploy nowhere")
	sh.run("deploy", "src/main.go", "-a", "gateway").has(ExitUsage, "it is not a folder")
	sh.run("deploy", "src", "-a", "gatewy").has(ExitNotFound, "app gatewy was not found")
	for _, request := range sh.server.Requests() {
		if strings.Contains(request, "/sources") {
			t.Errorf("something was uploaded: %s", request)
		}
	}
	sh.run("deploy", "src", "-a", "gateway", "--no-follow").has(ExitOK, "`atoll deployments follow 00000000-0000-4000-8000-000000000004 -a gateway` follows it.")
	sh.run("deploy", "src", "-a", "gateway").has(ExitConflict, "cannot deploy: a deployment of this app is running; wait for it to end")
	sh.server.AddApp("catalog")
	sh.run("deployments", "logs", "-a", "catalog").has(ExitNotFound, "was never deployed")
}

func TestDeployFindsTheAppOfTheFolder(t *testing.T) {
	sh := deployShell(t, func(d *apitest.Deployment) { d.Status("success") })
	sh.file("src/.atoll", "gateway\n")
	sh.run("deploy", "src").has(ExitOK, "Deployed gateway")
	sh.run("deploy").has(ExitUsage, "no app is chosen")
}

func TestDeployInterrupted(t *testing.T) {
	var cancel context.CancelFunc
	sh := deployShell(t, func(d *apitest.Deployment) {
		d.AwaitStream()
		d.Status("building")
		cancel()
	})
	sh.ctx, cancel = context.WithCancel(sh.ctx)
	defer cancel()
	sh.run("deploy", "src", "-a", "gateway").has(ExitInterrupted,
		"Error: stopped following; the deployment goes on\nFollow it again with `atoll deployments follow "+deploymentID+" -a gateway`.\n")
}

func TestDeployStreamDropped(t *testing.T) {
	sh := deployShell(t, func(d *apitest.Deployment) {
		d.AwaitStream()
		d.Log("one\n")
		d.Drop()
		d.Log("two\n")
		d.AwaitStream()
		d.Status("success")
	})
	r := sh.run("deploy", "src", "-a", "gateway")
	r.has(ExitOK, "one\ntwo\n")
	if strings.Count(r.stdout, "one") != 1 {
		t.Errorf("output came twice:\n%s", r.stdout)
	}
}
