package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
	"github.com/atollhq/atoll/internal/lab"
)

// listenProgram listens as told: protocol, address, port, and after how many
// seconds it crashes.
const listenProgram = `import socket, sys, threading, time, os

protocol, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if address == "eth0":
    way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    way.connect(("172.17.0.1", 53))
    address = way.getsockname()[0]
    way.close()
kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
s = socket.socket(socket.AF_INET, kind)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((address, port))
if len(sys.argv) > 4:
    def crash():
        time.sleep(float(sys.argv[4]))
        os._exit(3)
    threading.Thread(target=crash, daemon=True).start()
if protocol == "tcp":
    s.listen(16)
while True:
    if protocol == "tcp":
        s.accept()[0].close()
    else:
        s.recvfrom(100)
`

// diagnosed is what atoll doctor FROM TO PORT --json prints.
type diagnosed struct {
	Works    bool
	Sentence string
	Steps    []struct{ Name, Outcome, Text string }
}

func diagnose(t testing.TB, m *rig.Machine, from, to, port string) (d diagnosed) {
	t.Helper()
	r := m.Atoll(t, "doctor", from, to, port, "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil {
		t.Fatalf("not JSON: %v\n%v", err, r)
	}
	if d.Works != (r.Code == 0) || r.Code > rig.ExitFailure {
		t.Errorf("works: %v, but exit code %d:\n%v", d.Works, r.Code, r)
	}
	return d
}

// TestDoctorOfPaths makes each usual mistake with a real container and asks
// what is wrong.
func TestDoctorOfPaths(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	project := m.Project(t, "doctor-paths")
	a := m.App(t, project, "doctor-shop")
	m.App(t, project, "doctor-idle")
	m.App(t, m.Project(t, "doctor-elsewhere"), "doctor-other")
	a.Deploy(t, rig.Folder(t, map[string]string{"listen.py": listenProgram, "requirements.txt": "", "Procfile": `web: python3 listen.py tcp 0.0.0.0 $PORT
api: python3 listen.py tcp 0.0.0.0 3000
local: python3 listen.py tcp 127.0.0.1 3000
eth: python3 listen.py tcp eth0 3000
talk: python3 listen.py udp 0.0.0.0 5300
crash: python3 listen.py tcp 0.0.0.0 3000 1
none: python3 listen.py tcp 0.0.0.0 3000
`}))
	a.Must(t, "scale", "api:2", "local:1", "eth:1", "talk:1")
	a.Must(t, "scale", "crash:1", "--no-wait")
	api := a.Container(t, "api-1")
	const from = "doctor-shop/web/1"
	cases := []struct{ mistake, to, port, says string }{
		{"none", "api.doctor-shop.internal", "3000", "doctor-shop/web-1 reaches api.doctor-shop.internal on 3000/tcp: each of its 2 addresses accepts connections."},
		{"none, by long name", a.LongName(t, "2.api.doctor-shop.internal."), "3000", "accepts connections."},
		{"none, UDP", "talk.doctor-shop.internal", "5300/udp", "listens, and the datagram was not refused"},
		{"none, outside", "203.0.113.1", "53", "203.0.113.1 accepts connections."},
		{"no zone", "api.doctor-shop", "3000", "api.doctor-shop is no name in DNS; write api.doctor-shop.internal, which works."},
		{"localhost", "localhost", "3000", "localhost is the container itself, and nothing in it accepts connections on 3000/tcp"},
		{"bound to 127.0.0.1", "local.doctor-shop.internal", "3000", "doctor-shop/local-1 listens on 127.0.0.1:3000/tcp only, where nobody but itself can connect; let it bind to 0.0.0.0 or to $SCALINGO_PRIVATE_HOSTNAME."},
		{"bound to eth0", "eth.doctor-shop.internal", "3000", ":3000/tcp only, which is its outside interface (eth0) and not the private network; let it bind to"},
		{"wrong port", "api.doctor-shop.internal", "3001", "does not listen on port 3001 but on 0.0.0.0:3000/tcp; connect to that port"},
		{"TCP for UDP", "talk.doctor-shop.internal", "5300", "listens on port 5300 for UDP and not for TCP; use UDP"},
		{"UDP for TCP", "api.doctor-shop.internal", "3000/udp", "listens on port 3000 for TCP and not for UDP; use TCP"},
		{"web on port 80", "doctor-shop.internal", "80", "port 80 is the router's, and doctor-shop/web-1 listens on $PORT, which is 8080; connect to port 8080."},
		{"scaled to 0", "none.doctor-shop.internal", "3000", "none of doctor-shop is scaled to 0; run atoll scale none:1 -a doctor-shop."},
		{"not deployed", "doctor-idle.internal", "8080", "doctor-idle has never been deployed; run atoll deploy -a doctor-idle."},
		{"typo in the app", "api.doctor-shpo.internal", "3000", "there is no app doctor-shpo in its project; did you mean api.doctor-shop.internal?"},
		{"typo in the type", "apii.doctor-shop.internal", "3000", "has no process type apii; did you mean api.doctor-shop.internal?"},
		{"another project", "doctor-other.internal", "8080", "doctor-other is in the project doctor-elsewhere and doctor-shop in doctor-paths, and private networks of projects never meet"},
		{"no such number", "9.api.doctor-shop.internal", "3000", "doctor-shop has no container api-9; it has api-1, api-2"},
		{"address of nobody", "10.240.3.250", "3000", "no container of its project has the address 10.240.3.250"},
		{"address on eth0", first(api.Address(t, "eth0")), "3000", "is the outside address (eth0) of doctor-shop/api-1, and containers never reach each other there; use the name api.doctor-shop.internal"},
		{"the machine's own network", "192.168.1.53", "53/udp", "containers reach public addresses only; ask the operator for --allow-private 192.168.1.53/32."},
		{"no outside name", "nobody.example", "443", "the name nobody.example does not exist on the internet"},
	}
	working := 0
	for _, tt := range cases {
		works := strings.HasPrefix(tt.mistake, "none")
		if works {
			working++
		}
		t.Run(tt.mistake, func(t *testing.T) {
			d := diagnose(t, m, from, tt.to, tt.port)
			if !strings.Contains(d.Sentence, tt.says) {
				t.Errorf("it says\n  %s\nwant\n  %s\nsteps: %+v", d.Sentence, tt.says, d.Steps)
			}
			if d.Works != works {
				t.Errorf("works: %v: %s", d.Works, d.Sentence)
			}
		})
	}
	t.Run("crash loop", func(t *testing.T) {
		rig.Await(t, time.Minute, "the doctor to tell of the crash", func() error {
			d := diagnose(t, m, from, "crash.doctor-shop.internal", "3000")
			if !strings.Contains(d.Sentence, "crash-1") || !strings.Contains(d.Sentence, "it crashed (") || !strings.Contains(d.Sentence, "see atoll logs -a doctor-shop.") {
				return fmt.Errorf("it says: %s", d.Sentence)
			}
			return nil
		})
	})
	t.Run("for people", func(t *testing.T) {
		r := a.Atoll(t, "doctor", "web-1", "local.doctor-shop.internal", "3000")
		for _, line := range []string{"ok       from", "ok       name", "ok       network", "failed   listener", "ok       route", "failed   try", "\n\ndoctor-shop/web-1 does not reach"} {
			if !strings.Contains(r.Stdout, line) {
				t.Errorf("%q is missing:\n%v", line, r)
			}
		}
		if r := a.Atoll(t, "doctor", "web-7", "x.internal", "1"); r.Code != rig.ExitNotFound || !strings.Contains(r.Stderr, "it has: api-1, api-2") {
			t.Errorf("a container that is not there:\n%v", r)
		}
	})
	rig.Report(t, "doctor FROM TO PORT", "%d usual mistakes named in one sentence, %d paths that work", len(cases)-working+1, working)
}

func first(addr string, _ int) string { return addr }

// check is a line of atoll doctor --json.
type check struct{ Name, Outcome, Text string }

func examine(t *testing.T, m *rig.Machine, on lab.Namespace, settings []string) (map[string]check, rig.Result) {
	t.Helper()
	r := m.Operate(t, on, append([]string{"doctor", "--json"}, settings...)...)
	var list []check
	if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil {
		t.Fatalf("not JSON: %v\n%v", err, r)
	}
	checks := map[string]check{}
	for _, c := range list {
		checks[c.Name] = c
	}
	return checks, r
}

// TestDoctorOfAHealthyMachine: the machine of the tests has nothing wrong but
// perhaps its clock, and knows its own server.
func TestDoctorOfAHealthyMachine(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	checks, r := examine(t, m, m.Lab.Server(), m.Settings())
	if r.Code != 0 || len(checks) < 20 {
		t.Errorf("exit code %d, %d checks:\n%v", r.Code, len(checks), r)
	}
	for _, c := range checks {
		if c.Outcome != "ok" && c.Name != "clock" && c.Name != "disk" {
			t.Errorf("%+v", c)
		}
	}
	for name, says := range map[string]string{
		"API port": "is served (process", "HTTP port": "is served (process", "server": "and answers at " + lab.ServerAddr + ":7000",
		"engine": "answers at", "upstream DNS": lab.InternetAddr + " answers in", "path MTU": "1500 bytes to " + lab.InternetAddr,
	} {
		if !strings.Contains(checks[name].Text, says) {
			t.Errorf("%+v does not say %q", checks[name], says)
		}
	}
}

// TestDoctorOfABrokenMachine breaks a machine without a server in each way
// that is usual, and mends it again.
func TestDoctorOfABrokenMachine(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	l := lab.Start(t, lab.Options{})
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver "+lab.InternetAddr+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "not-yet")
	settings := append(m.Settings(), "--data-dir", dir, "--run-dir", dir, "--bpffs", l.BPFFS(), "--resolv-conf", resolv, "--api-listen", "127.0.0.1:7000")
	do := func(t *testing.T, on lab.Namespace, script string) {
		t.Helper()
		if out, err := on.Command(t.Context(), "sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	before, r := examine(t, m, l.Server(), settings)
	if r.Code != 0 || !strings.Contains(before["server"].Text, "atoll init makes it") {
		t.Fatalf("the machine is not well before it is broken:\n%v", r)
	}
	for name, tt := range map[string]struct {
		on             lab.Namespace
		wreck, mend    string
		check, outcome string
		says           []string
	}{
		"docker0 has the range": {l.Server(), "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0", "ip link del docker0",
			"outside network", "failure", []string{"overlaps 172.17.0.0/16, which the interface docker0 has", "--outside-prefix, for instance 172.18.0.0/16"}},
		"a LAN has the range": {l.Server(), "ip route add 172.17.40.0/24 via " + lab.InternetAddr, "ip route del 172.17.40.0/24",
			"outside network", "failure", []string{"overlaps 172.17.40.0/24", "--outside-prefix"}},
		"a LAN has the private range": {l.Server(), "ip route add 10.240.2.0/24 via " + lab.InternetAddr, "ip route del 10.240.2.0/24",
			"private range", "warning", []string{"containers cannot reach hosts of 10.240.2.0/24"}},
		"Docker's FORWARD drops": {l.Server(), "nft add table ip filter; nft add chain ip filter DOCKER-USER; nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'; nft add rule ip filter FORWARD jump DOCKER-USER",
			"nft delete table ip filter", "firewall", "failure", []string{"Docker, by the policy of the chain FORWARD (ip filter), drops what containers send to the outside: iptables -I DOCKER-USER -i atoll0 -j ACCEPT"}},
		"upstream down": {l.Server(), "echo nameserver 203.0.113.77 >" + resolv, "echo nameserver " + lab.InternetAddr + " >" + resolv,
			"upstream DNS", "failure", []string{"203.0.113.77", "containers cannot resolve outside names"}},
		"one of two upstreams down": {l.Server(), "echo nameserver 203.0.113.77 >>" + resolv, "echo nameserver " + lab.InternetAddr + " >" + resolv,
			"upstream DNS", "warning", []string{"203.0.113.77", lab.InternetAddr + " answers in", "slower at times"}},
		"large packets vanish": {l.Internet(), "ip link set server0 mtu 1396", "ip link set server0 mtu 1500",
			"path MTU", "warning", []string{"packets of more than 1400 bytes vanish", "set outside_mtu to 1400"}},
		"port taken": {l.Server(), "python3 -m http.server 80 >/dev/null 2>&1 & echo $! >" + resolv + ".pid; while ! ss -Hltn 'sport = :80' | grep -q .; do sleep 0.05; done",
			"kill $(cat " + resolv + ".pid)", "HTTP port", "failure", []string{":80 is taken by python3 (process", "stop it or change http_listen"}},
	} {
		t.Run(name, func(t *testing.T) {
			do(t, tt.on, tt.wreck)
			defer do(t, tt.on, tt.mend)
			checks, r := examine(t, m, l.Server(), settings)
			c := checks[tt.check]
			if c.Outcome != tt.outcome || (r.Code != 0) != (tt.outcome == "failure") {
				t.Errorf("%+v, exit code %d; want %s", c, r.Code, tt.outcome)
			}
			for _, says := range tt.says {
				if !strings.Contains(c.Text, says) {
					t.Errorf("%q is missing: %s", says, c.Text)
				}
			}
			for name, was := range before {
				if now := checks[name]; name != tt.check && now.Outcome != was.Outcome && !(tt.check == "upstream DNS" && name == "path MTU") {
					t.Errorf("%s is %s (%s) for it, was %s", name, now.Outcome, now.Text, was.Outcome)
				}
			}
		})
	}
	after, _ := examine(t, m, l.Server(), settings)
	for name, was := range before {
		if after[name].Outcome != was.Outcome {
			t.Errorf("mended, %+v, was %s", after[name], was.Outcome)
		}
	}
	if links, err := l.Server().Command(t.Context(), "ip", "-o", "link").Output(); err != nil || strings.Contains(string(links), "atoll") {
		t.Errorf("the machine was changed (%v):\n%s", err, links)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the doctor made %s (%v)", dir, err)
	}
	rig.Report(t, "doctor of a machine", "each of 8 faults named with its remedy, nothing changed")
}
