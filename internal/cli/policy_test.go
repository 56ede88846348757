package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/client/apitest"
)

var (
	webOne  = apitest.Member("shop-web", "web", "1")
	apiTwo  = apitest.Member("catalog", "api", "2")
	unknown = apitest.Object{"name": "10.240.3.3", "address": "10.240.3.3", "app_id": "", "app": "", "type": "", "number": 0}
)

func TestPolicy(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("shop-web")
	sh.server.AddApp("catalog")
	sh.run("policy", "--project", "default").want(ExitOK, "Project  default\nMode     open (everything passes)\n", "There are no rules.\n")
	sh.run("policy", "mode", "dry-run", "--project", "default").want(ExitOK, "",
		"The policy of the project default is dry-run now: everything passes; what no rule allows is counted.\n")
	sh.run("policy", "allow", "shop-web:web -> catalog:api 3000", "--project", "default").want(ExitOK, "",
		"Allowed in the project default: shop-web:web -> catalog:api 3000/tcp\nThe mode is dry-run, so everything passes anyway; `atoll policy mode deny --project default` makes the rules count.\n")
	sh.run("policy", "allow", "*:cron -> * 53/udp", "--project", "default", "--json").has(ExitOK, `"rule": "*:cron -> *:* 53/udp"`)
	sh.server.AddRefusal("shop-web:web -> catalog:api icmp", "icmp", true, 2)
	sh.server.AddRefusal("shop-web:web -> catalog:api 9000/tcp", "tcp", true, 10)
	sh.server.AddRefusal("", "udp", false, 10) // no rule could be meant by these
	sh.server.AddRefusal("", "*", false, 600)
	sh.server.AddRefusal("", "47", true, 2)
	sh.run("policy", "--project", "default").want(ExitOK, `Project  default
Mode     dry-run (everything passes; what no rule allows is counted)

ID                                    RULE
00000000-0000-4000-8000-000000000004  shop-web:web -> catalog:api 3000/tcp
00000000-0000-4000-8000-000000000005  *:cron -> *:* 53/udp

WOULD BE REFUSED, THERE IS NO RULE    PACKETS  LAST SEEN
shop-web:web -> catalog:api icmp      2        2026-11-23 12:00:00
shop-web:web -> catalog:api 9000/tcp  10       2026-11-23 12:00:00
`, `And 610 packets whose port is not known: of a scan of many ports, or of fragments. No rule is meant for them.
And 2 packets of other protocols than TCP, UDP and ICMP, which only a rule for everything (*) allows.
`)
	sh.run("policy", "--project", "default", "--json").has(ExitOK, `"refused_port_unknown": 610`, `"refused_other_protocols": 2`)
	sh.server.WarnOfPolicy("it is too large")
	sh.run("policy", "--project", "default").has(ExitOK, "catalog:api 3000/tcp", "Warning: it is too large.\n")
	sh.run("policy", "--project", "default", "--json").has(ExitOK, `"warning": "it is too large"`)
	sh.run("policy", "mode", "dry-run", "--project", "default").has(ExitOK, "is dry-run now", "Warning: it is too large.\n")
	sh.server.WarnOfPolicy("")
	sh.run("policy", "mode", "deny", "--project", "default").want(ExitOK, "", "The policy of the project default is deny now: only what a rule allows passes.\n")
	sh.run("policy", "--project", "default").has(ExitOK, "\nREFUSED, THERE IS NO RULE", "shop-web:web -> catalog:api 9000/tcp  10")
	var shown struct {
		Mode    string
		Rules   []struct{ Rule string }
		Refused []struct{ Rule string }
	}
	if err := json.Unmarshal([]byte(sh.run("policy", "--project", "default", "--json").stdout), &shown); err != nil || shown.Mode != "deny" ||
		len(shown.Rules) != 2 || len(shown.Refused) != 2 || shown.Refused[1].Rule != "shop-web:web -> catalog:api 9000/tcp" {
		t.Errorf("%+v, %v", shown, err)
	}
	sh.run("policy", "allow", "shop-web:web -> catalog:api 9001", "--project", "default").want(ExitOK, "", "Allowed in the project default: shop-web:web -> catalog:api 9001/tcp\n")
	sh.run("policy", "remove", "shop-web:web -> catalog:api 3000", "--project", "default").want(ExitOK, "", "Removed from the project default: shop-web:web -> catalog:api 3000/tcp\n")
	sh.run("policy", "remove", "00000000-0000-4000-8000-000000000005", "--project", "default").has(ExitOK, "Removed")
	sh.run("policy", "remove", "0000", "--project", "default").has(ExitOK, "Removed")
	sh.run("policy", "mode", "deny", "--project", "default").has(ExitOK, "do not reach each other at all")
}

func TestPolicyErrors(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("shop-web")
	sh.env["ATOLL_APP"] = "shop-web"
	sh.run("policy", "mode", "enforce").has(ExitUsage, "must be open, dry-run or deny")
	sh.run("policy", "mode").has(ExitUsage, "MODE is missing")
	sh.run("policy", "allow", "shop-web:web -> catalog:api").has(ExitUsage, "has no port at its end")
	sh.run("policy", "allow", "shop-web:web", "-", "80").has(ExitUsage, "must be one argument, in quotes")
	sh.run("policy", "allow").has(ExitUsage, "RULE is missing")
	sh.run("policy", "allow", "shop-web:web -> catalog:api 80").has(ExitOK, "Allowed")
	sh.run("policy", "allow", "shop-web:web -> catalog:api 80/tcp").has(ExitConflict, "has that rule already")
	sh.run("policy", "remove", "f00").has(ExitNotFound, "the policy has no rule", "`atoll policy` shows the rules")
	sh.run("policy", "remove", "a -> b").has(ExitUsage, "has no port")
	sh.run("policy", "allow", "* -> * 81").has(ExitOK)
	sh.run("policy", "remove", "0000").has(ExitUsage, "2 rules have an id that begins with")
	sh.run("policy", "--project", "nowhere").has(ExitNotFound, `you have no project "nowhere"`)
	sh.run("policy", "--project", "default", "-a", "shop-web").has(ExitUsage, "none of the others can be")
	sh.env["ATOLL_APP"] = ""
	sh.run("policy").want(ExitUsage, "", "Error: no project is chosen\nName it with --project NAME, or an app of it with --app NAME. `atoll projects` lists your projects.\n")
	sh.server.Override("PUT /v1/atoll/projects/"+projectID(t, sh)+"/policy", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(503)
		_, _ = w.Write([]byte(`{"error":"the policy is saved, but the network does not obey it yet: no room","code":"unavailable"}`))
	})
	sh.run("policy", "mode", "deny", "--project", "default").want(ExitFailure, "", "Error: cannot change the policy: the policy is saved, but the network does not obey it yet: no room\n")
}

func projectID(t *testing.T, sh *shell) string {
	t.Helper()
	var projects []struct{ ID string }
	if err := json.Unmarshal([]byte(sh.run("projects", "--json").stdout), &projects); err != nil || len(projects) != 1 {
		t.Fatalf("projects are %+v, %v", projects, err)
	}
	return projects[0].ID
}

func TestFlows(t *testing.T) {
	sh := newShell(t)
	sh.server.AddApp("shop-web")
	sh.run("flows", "-a", "shop-web").want(ExitOK, "", "Nobody talked in the private network of the project default yet.\n")
	sh.run("flows", "-a", "shop-web", "--json").want(ExitOK, "[]\n", "")
	sh.server.AddFlow(webOne, apiTwo, "tcp", 3000, 7, "allowed")
	sh.server.AddFlow(unknown, apiTwo, "47", 0, 1, "denied")
	sh.server.AddFlow(webOne, apiTwo, "udp", 0, 1, "denied")
	sh.server.AddFlow(webOne, apiTwo, "*", 0, 1, "denied")
	sh.run("flows", "-a", "shop-web").want(ExitOK, `FROM            TO             PORT      VERDICT  PACKETS  BYTES  BACK  BYTES BACK  LAST SEEN
shop-web/web/1  catalog/api/2  3000/tcp  allowed  7        700 B  7     6.8 KiB     2026-11-23 12:00:00
10.240.3.3      catalog/api/2  47        denied   1        100 B  1     1000 B      2026-11-23 12:00:00
shop-web/web/1  catalog/api/2  ?/udp     denied   1        100 B  1     1000 B      2026-11-23 12:00:00
shop-web/web/1  catalog/api/2  ?         denied   1        100 B  1     1000 B      2026-11-23 12:00:00
`, "")
	sh.run("flows", "--project", "default", "--json").has(ExitOK, `"verdict": "denied"`, `"reply_bytes": 7000`)
}

func TestFollowedFlows(t *testing.T) {
	sh := newShell(t)
	ctx, cancel := context.WithCancel(sh.ctx)
	var stdout, stderr output
	root := sh.root(&stdout, &stderr)
	root.SetArgs([]string{"flows", "--follow", "--project", "default"})
	ended := make(chan int, 1)
	go func() { ended <- execute(ctx, root) }()
	sh.server.AwaitFlowStream()
	sh.server.AddFlow(webOne, apiTwo, "tcp", 3000, 1, "allowed")
	eventually(t, "the first flow", func() bool { return strings.Count(stdout.String(), "\n") == 1 })
	sh.server.DropStreams()
	sh.server.AwaitFlowStream()
	sh.server.AddFlow(webOne, apiTwo, "udp", 53, 2, "denied")
	eventually(t, "the second flow", func() bool { return strings.Count(stdout.String(), "\n") == 2 })
	cancel()
	result{t, []string{"flows"}, <-ended, stdout.String(), stderr.String()}.want(ExitInterrupted, `2026-11-23 12:00:00 shop-web/web/1 -> catalog/api/2 3000/tcp allowed: 1 packet, 100 B; back 1 packet, 1000 B
2026-11-23 12:00:00 shop-web/web/1 -> catalog/api/2 53/udp denied: 2 packets, 200 B; back 2 packets, 2.0 KiB
`, "The live stream was interrupted; connecting again.\n")
}

func TestDrops(t *testing.T) {
	sh := newShell(t)
	sh.run("drops", "--project", "default").want(ExitOK, "", "Nothing was dropped in the private network of the project default.\n")
	sh.server.AddDrop(webOne, unknown, "unknown-destination", 3)
	sh.run("drops", "--project", "default").want(ExitOK, `REASON               FROM            TO          COUNT  LAST SEEN
unknown-destination  shop-web/web/1  10.240.3.3  3      2026-11-23 12:00:00
`, "")
	sh.run("drops", "--project", "default", "--json").has(ExitOK, `"count": 3`)
}

func TestCompletionOfPolicies(t *testing.T) {
	sh := newShell(t)
	for args, want := range map[string]string{
		"policy mode --project default ":   "open dry-run deny :4",
		"policy remove --project default ": ":4",
		"flows --project ":                 "default :4",
	} {
		r := sh.run(append([]string{"__complete"}, strings.Split(args, " ")...)...)
		if diff := cmp.Diff(want, strings.Join(strings.Fields(r.stdout), " ")); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}
