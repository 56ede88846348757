package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestScale(t *testing.T) {
	sh := newShell(t)
	sh.runningApp("gateway")
	sh.env["ATOLL_APP"] = "gateway"
	sh.run("scale").want(ExitOK, `TYPE    AMOUNT  SIZE  COMMAND
web     2       M     ./server
worker  0       L     ./work --fast
`, "")
	sh.server.OperationPolls = 3
	sh.run("scale", "web:1", "worker:2:s").want(ExitOK, `TYPE    AMOUNT  SIZE  COMMAND
web     1       M     ./server
worker  2       S     ./work --fast
`, "gateway is scaling ...\n")
	sh.run("scale", "web:2", "--no-wait", "-a", "gateway", "--json").has(ExitOK, "gateway is scaling; `atoll ps -a gateway` shows how far it is.", `"amount": 2`)
	sh.server.OperationError = "no address is free"
	sh.run("scale", "web:3").want(ExitFailure, "", "gateway is scaling ...\nError: scaling failed: no address is free\n`atoll logs -n 100` and `atoll ps` may show why.\n")
}

func TestScaleErrors(t *testing.T) {
	sh := newShell(t)
	sh.runningApp("gateway")
	sh.env["ATOLL_APP"] = "gateway"
	for arg, says := range map[string]string{
		"web":        "is not of the form TYPE:AMOUNT",
		"web:1:M:2":  "is not of the form TYPE:AMOUNT",
		"web:x":      "the amount must be a number of containers",
		"web:+1":     "the amount must be a number of containers",
		"web:1:XXL":  "use one of S, M, L, XL, 2XL, 3XL",
		"my-type:1":  "use 1 to 24 letters and digits",
		"web:99":     "amount must be at most 10",
		"webb:1":     "the app has no process type webb",
		"web:1:":     "is no container size",
		":1":         "use 1 to 24 letters and digits",
		"web:1 api:": "must be a number",
	} {
		code := ExitUsage
		if arg == "webb:1" {
			code = ExitNotFound
		}
		r := sh.run("scale", arg)
		r.has(code, says)
		if arg == "webb:1" || arg == "web:99" {
			r.has(code, "The formation is: web:2:M worker:0:L")
		}
	}
	sh.run("scale", "web:1", "web:2").has(ExitUsage, "web is given twice")
}

func TestScaleBeforeTheFirstDeployment(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("catalog")
	sh.run("scale", "web:0", "-a", "catalog").want(ExitOK, "TYPE  AMOUNT  SIZE  COMMAND\nweb   0       M     ./server\n", "")
}

func TestPS(t *testing.T) {
	sh := newShell(t)
	sh.runningApp("gateway")
	sh.run("ps", "-a", "gateway").want(ExitOK, `CONTAINER  STATE    SERVES  PRIVATE IP  SIZE  CREATED              COMMAND
web-1      running  yes     10.240.0.1  M     2026-11-23 12:00:00  ./server
web-2      running  yes     10.240.0.2  M     2026-11-23 12:00:00  ./server
`, "")
	var containers []struct{ Label string }
	if err := json.Unmarshal([]byte(sh.run("ps", "-a", "gateway", "--json").stdout), &containers); err != nil || len(containers) != 2 || containers[1].Label != "web-2" {
		t.Errorf("%+v, %v", containers, err)
	}
	sh.server.Override("GET /v1/apps/gateway/ps", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"containers":[{"label":"web-1","state":"crashed","atoll":{"reason":"exit status 1","retry_at":"2026-11-23T12:00:10Z"}},{"label":"web-2","state":"running"}]}`))
	})
	sh.run("ps", "-a", "gateway").want(ExitOK, `CONTAINER  STATE    SERVES  PRIVATE IP  SIZE  CREATED  COMMAND
web-1      crashed  no      -                 -
web-2      running  -       -                 -
`, "web-1 crashed: exit status 1; it is tried again at 2026-11-23 12:00:10\n")
}

func TestRestart(t *testing.T) {
	sh := newShell(t)
	sh.runningApp("gateway")
	sh.run("restart", "web", "worker-1", "-a", "gateway").want(ExitOK, "", "gateway is restarting ...\nRestarted.\n")
	sh.run("restart", "--no-wait", "-a", "gateway").want(ExitOK, "", "gateway is restarting; `atoll ps -a gateway` shows how far it is.\n")
	sh.server.AddApp("catalog")
	sh.run("restart", "-a", "catalog").want(ExitConflict, "", "Error: cannot restart: the app does not run\n")
}

func TestInterruptedWait(t *testing.T) {
	sh := newShell(t)
	sh.runningApp("gateway")
	sh.server.OperationPolls = 1 << 30
	ctx, cancel := context.WithCancel(sh.ctx)
	sh.ctx = ctx
	go func() {
		eventually(t, "a first look at the operation", func() bool {
			return strings.Contains(strings.Join(sh.server.Requests(), "\n"), "/operations/")
		})
		cancel()
	}()
	sh.run("restart", "-a", "gateway").want(ExitInterrupted, "", "gateway is restarting ...\nError: stopped waiting while gateway is restarting\nIt goes on without you; `atoll ps -a gateway` shows how far it is.\n")
}

func TestLogs(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("gateway")
	sh.env["ATOLL_APP"] = "gateway"
	sh.run("logs").want(ExitOK, "", "There are no logs yet.\n")
	sh.server.LogLine("gateway", "web-1", 1, "hello <world>")
	sh.server.LogLine("gateway", "worker-1", 2, "work")
	sh.run("logs", "-n", "1").want(ExitOK, "2026-11-23 12:00:00.000000002 +0000 UTC [worker-1] work\n", "")
	sh.run("logs", "-F", "web").want(ExitOK, "2026-11-23 12:00:00.000000001 +0000 UTC [web-1] hello <world>\n", "")
	sh.run("logs", "-F", "worker", "--json").want(ExitOK, `{"time":"2026-11-23T12:00:00.000000002Z","label":"worker-1","text":"work"}`+"\n", "")
	sh.run("logs", "-n", "-1").has(ExitUsage, "must not be negative")
	sh.colour = true
	sh.run("logs", "-F", "worker").has(ExitOK, "\x1b[36m[worker-1]\x1b[0m work")
}

func TestLogsFollow(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("gateway")
	ctx, cancel := context.WithCancel(sh.ctx)
	var stdout, stderr output
	root := sh.root(&stdout, &stderr)
	root.SetArgs([]string{"logs", "-f", "-a", "gateway", "-F", "web"})
	ended := make(chan int, 1)
	go func() { ended <- execute(ctx, root) }()
	sh.server.AwaitLogStream("gateway")
	sh.server.LogLine("gateway", "worker-1", 1, "other")
	sh.server.LogLine("gateway", "web-1", 2, "live")
	eventually(t, "the live line", func() bool { return strings.HasSuffix(stdout.String(), "[web-1] live\n") })
	cancel()
	if code := <-ended; code != ExitInterrupted || stderr.String() != "" || strings.Contains(stdout.String(), "other") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
}
