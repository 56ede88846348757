package platform

import (
	"strings"
	"testing"
)

func TestRulesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]struct {
		rule Rule
		form string
	}{
		"shop-web:web -> catalog:api 3000/tcp": {Rule{From: Party{App: "shop-web", Type: "web"}, To: Party{App: "catalog", Type: "api"}, Service: Service{TCP, 3000}}, ""},
		"shop-web:web->catalog:api 3000": {Rule{From: Party{App: "shop-web", Type: "web"}, To: Party{App: "catalog", Type: "api"}, Service: Service{TCP, 3000}},
			"shop-web:web -> catalog:api 3000/tcp"},
		"  shop-web:one-off  ->\tcatalog:*   53/udp ": {Rule{From: Party{App: "shop-web", Type: "one-off"}, To: Party{App: "catalog"}, Service: Service{UDP, 53}},
			"shop-web:one-off -> catalog:* 53/udp"},
		"* -> catalog:api */tcp":  {Rule{To: Party{App: "catalog", Type: "api"}, Service: Service{Protocol: TCP}}, "*:* -> catalog:api */tcp"},
		"*:cron -> *:* icmp":      {Rule{From: Party{Type: "cron"}, Service: Service{Protocol: ICMP}}, ""},
		"*:* -> *:Api *":          {Rule{To: Party{Type: "Api"}}, ""},
		"*:* -> catalog:* */udp":  {Rule{To: Party{App: "catalog"}, Service: Service{Protocol: UDP}}, ""},
		"ap-0d3cf1a2:web -> * 80": {Rule{From: Party{App: "ap-0d3cf1a2", Type: "web"}, Service: Service{TCP, 80}}, "ap-0d3cf1a2:web -> *:* 80/tcp"},
	} {
		got, err := ParseRule(text)
		if err != nil || got != want.rule {
			t.Errorf("%q gives %+v, %v; want %+v", text, got, err, want.rule)
		}
		if want.form == "" {
			want.form = text
		}
		if got.String() != want.form {
			t.Errorf("%q reads %q, want %q", text, got, want.form)
		}
	}
}

func TestAnErrorOfARuleSaysWhatToDo(t *testing.T) {
	for text, says := range map[string]string{
		"":                                      "has no arrow; write it as",
		"shop-web:web catalog:api 3000":         "has no arrow",
		"shop-web:web -> catalog:api":           "has no port at its end",
		"-> catalog:api 80":                     "either side of the arrow",
		"shop-web:web ->":                       "either side of the arrow",
		"shop-web:web x -> catalog:api 80":      "either side of the arrow",
		"shop-web:web -> catalog:api 80 tcp":    `goes on behind the port with "tcp"`,
		"shop-web:web -> catalog:api -> * 80":   "more than one arrow",
		"shop-web -> catalog:api 80":            "write shop-web:TYPE, or shop-web:* for every type",
		"Shop-Web:web -> catalog:api 80":        "is no name of an app",
		"shop:web -> catalog:api 80":            "is no name of an app",
		"shop-web:we-b -> catalog:api 80":       "is no process type",
		"shop-web: -> catalog:api 80":           "is no process type",
		"shop-web:web:1 -> catalog:api 80":      "is no process type",
		"shop-web:web -> catalog:api 0":         "from 1 to 65535",
		"shop-web:web -> catalog:api 65536/tcp": "from 1 to 65535",
		"shop-web:web -> catalog:api 080":       "from 1 to 65535",
		"shop-web:web -> catalog:api +80":       "from 1 to 65535",
		"shop-web:web -> catalog:api /tcp":      "from 1 to 65535",
		"shop-web:web -> catalog:api 80/":       "must be tcp or udp",
		"shop-web:web -> catalog:api 80/TCP":    "must be tcp or udp",
		"shop-web:web -> catalog:api 80/icmp":   "must be tcp or udp",
		"shop-web:web -> catalog:api http":      "from 1 to 65535",
		"shop-web:web -> catalog:api 80-90/tcp": "from 1 to 65535",
	} {
		r, err := ParseRule(text)
		if CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), says) || r != (Rule{}) {
			t.Errorf("%q gives %+v, %v; want an error with %q", text, r, err, says)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add("shop-web:web -> catalog:api 3000/tcp")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			if CodeOf(err) != CodeInvalid {
				t.Fatalf("%q: %v is none of the user's errors", text, err)
			}
			return
		}
		again, err := ParseRule(r.String())
		if err != nil || again != r {
			t.Fatalf("%q is read as %+v, written as %q, read again as %+v, %v", text, r, r, again, err)
		}
	})
}

func TestDecide(t *testing.T) {
	rule := func(text string) Rule {
		t.Helper()
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	p := Policy{Rules: []Rule{rule("shop-web:web -> catalog:api 3000"), rule("*:cron -> * 53/udp"), rule("catalog:* -> catalog:* *"), rule("* -> *:ping icmp")}}
	web, api, worker, cron := Party{App: "shop-web", Type: "web"}, Party{App: "catalog", Type: "api"}, Party{App: "catalog", Type: "worker"}, Party{App: "shop-web", Type: "cron"}
	for _, tt := range []struct {
		from, to Party
		service  Service
		by       int
	}{
		{web, api, Service{TCP, 3000}, 0}, {web, api, Service{UDP, 3000}, -1}, {web, api, Service{TCP, 3001}, -1}, {api, web, Service{TCP, 3000}, -1},
		{web, worker, Service{TCP, 3000}, -1}, {cron, web, Service{UDP, 53}, 1}, {cron, web, Service{TCP, 53}, -1}, {api, worker, Service{TCP, 1}, 2},
		{worker, api, Service{Protocol: ICMP}, 2}, {web, Party{App: "catalog", Type: "ping"}, Service{Protocol: ICMP}, 3}, {web, api, Service{Protocol: ICMP}, -1},
	} {
		for mode, refused := range map[PolicyMode]Verdict{PolicyOpen: Allowed, PolicyDryRun: WouldDeny, PolicyDeny: Denied} {
			p.Mode = mode
			want := refused
			if tt.by >= 0 {
				want = Allowed
			}
			got, by := p.Decide(tt.from, tt.to, tt.service)
			if got != want || (by == nil) != (tt.by < 0) || by != nil && by != &p.Rules[tt.by] {
				t.Errorf("%s: %s to %s on %s is %s by %v, want %s by rule %d", mode, tt.from, tt.to, tt.service, got, by, want, tt.by)
			}
		}
	}
	// Ids count where both are known: a name may have been another's.
	r := Rule{From: Party{AppID: "ap-1", App: "old-name"}, To: Party{}}
	if !r.Allows(Party{AppID: "ap-1", App: "new-name"}, web, Service{TCP, 1}) || r.Allows(Party{AppID: "ap-2", App: "old-name"}, web, Service{TCP, 1}) {
		t.Error("a rule must follow the id of its app, not the name")
	}
}

func TestModesAreRead(t *testing.T) {
	for _, mode := range []string{"open", "dry-run", "deny"} {
		if m, err := ParsePolicyMode(mode); err != nil || string(m) != mode {
			t.Errorf("%s gives %s, %v", mode, m, err)
		}
	}
	for _, bad := range []string{"", "Deny", "enforce", "dry run"} {
		if _, err := ParsePolicyMode(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("%q gives %v", bad, err)
		}
	}
}

func TestWhatAFlowSaysOfItsService(t *testing.T) {
	for _, tt := range []struct {
		service         Service
		known, nameable bool
	}{
		{Service{TCP, 80}, true, true}, {Service{UDP, 53}, true, true}, {Service{Protocol: ICMP}, true, true}, {Service{Protocol: 47}, true, false},
		{Service{Protocol: TCP}, false, false}, {Service{Protocol: UDP}, false, false}, {Service{}, false, false},
	} {
		if known, nameable := tt.service.Known(), tt.service.Nameable(); known != tt.known || nameable != tt.nameable {
			t.Errorf("%s: known %v, nameable %v", tt.service, known, nameable)
		}
	}
}
