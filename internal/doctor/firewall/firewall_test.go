package firewall

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	out = Packet{Hooks: []string{"prerouting", "forward"}, In: "atoll0", Out: "uplink0", From: addr("172.17.0.2"), To: addr("198.51.100.10"),
		Protocol: "tcp", FromPort: 40000, Port: 443, State: "new"}
	back2 = Packet{Hooks: []string{"forward"}, In: "uplink0", Out: "atoll0", From: addr("198.51.100.10"), To: addr("172.17.0.2"),
		Protocol: "tcp", FromPort: 443, Port: 40000, State: "established"}
	question = Packet{Hooks: []string{"input"}, In: "atoll0", From: addr("172.17.0.2"), To: addr("172.17.0.1"), Protocol: "udp", FromPort: 40000, Port: 53, State: "untracked"}
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestRulesOfTheKernel loads rules with nft, in a namespace of their own, and
// reads back what nft says of them.
func TestRulesOfTheKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to load rules into a network namespace of their own")
	}
	for name, tt := range map[string]struct {
		rules               string
		out, back, question []Drop
	}{
		"nothing": {rules: ""},
		"policy drop": {rules: `table inet mine { chain fw { type filter hook forward priority 0; policy drop; } }`,
			out: []Drop{{"inet mine", "fw", true, ""}}, back: []Drop{{"inet mine", "fw", true, ""}}},
		"policy drop, bridge let pass": {rules: `table inet mine { chain fw { type filter hook forward priority 0; policy drop; iifname "atoll0" accept; oifname "atoll*" ct state { established, related } accept; } }`},
		"way back forgotten": {rules: `table inet mine { chain fw { type filter hook forward priority 0; policy drop; iifname "atoll0" accept; } }`,
			back: []Drop{{"inet mine", "fw", true, ""}}},
		"docker": {rules: `table ip filter {
			chain DOCKER-USER { }
			chain DOCKER { }
			chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; oifname "docker0" ct state established,related accept; oifname "docker0" jump DOCKER; iifname "docker0" accept; } }`,
			out: []Drop{{"ip filter", "FORWARD", true, "Docker"}}, back: []Drop{{"ip filter", "FORWARD", true, "Docker"}}},
		"docker, let pass": {rules: `table ip filter {
			chain DOCKER-USER { iifname "atoll0" accept; oifname "atoll0" ct state established,related accept; return; }
			chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; } }`},
		"ufw": {rules: `table ip filter {
			chain ufw-user-forward { }
			chain ufw-before-forward { ct state established,related accept; ip protocol icmp accept; jump ufw-user-forward; }
			chain FORWARD { type filter hook forward priority 0; policy drop; jump ufw-before-forward; }
			chain ufw-user-input { tcp dport { 22, 80 } accept; }
			chain INPUT { type filter hook input priority 0; policy drop; jump ufw-user-input; } }`,
			out: []Drop{{"ip filter", "FORWARD", true, "ufw"}}, question: []Drop{{"ip filter", "INPUT", true, "ufw"}}},
		"firewalld": {rules: `table inet firewalld {
			chain filter_FWD_public { reject with icmpx type admin-prohibited; }
			chain filter_FORWARD { type filter hook forward priority 10; policy accept; ct state established,related accept; goto filter_FWD_public; }
			chain filter_INPUT { type filter hook input priority 10; policy accept; iifname vmap { "lo" : accept, "eth9" : drop }; ct state { established, related } accept; ip daddr 172.17.0.1-172.17.0.9 udp dport 53-60 drop; } }`,
			out: []Drop{{"inet firewalld", "filter_FORWARD", false, "firewalld"}}, question: []Drop{{"inet firewalld", "filter_INPUT", false, "firewalld"}}},
		"what cannot be known": {rules: `table ip mine { set s { type ipv4_addr; }
			chain fw { type filter hook forward priority 0; policy drop; ip saddr @s accept; meta mark 7 accept; limit rate 3/second accept; } }`},
		"ports": {rules: `table ip mine { chain fw { type filter hook forward priority 0; policy accept; tcp dport { 443, 8000-8080 } ip saddr 172.17.0.0/16 drop; udp dport 443 drop; ip saddr != 172.17.0.0/16 drop; } }`,
			out: []Drop{{"ip mine", "fw", false, ""}}, back: []Drop{{"ip mine", "fw", false, ""}}},
		"dropped before it is let pass": {rules: `table ip mine { chain bad { iifname "atoll0" drop; }
			chain fw { type filter hook forward priority 0; policy accept; jump bad; accept; } }`,
			out: []Drop{{"ip mine", "fw", false, ""}}},
		"our own": {rules: `table ip atoll_outside { chain fw { type filter hook forward priority 0; policy drop; } }`},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "rules")
			if err := os.WriteFile(file, []byte(strings.NewReplacer("{ }", "{ }\n", "; }", ";\n}\n").Replace(tt.rules)), 0o600); err != nil {
				t.Fatal(err)
			}
			text, err := exec.Command("unshare", "--net", "sh", "-c", `nft -f "$0" && nft -j list ruleset`, file).CombinedOutput()
			if err != nil {
				t.Fatalf("nft: %v: %s", err, text)
			}
			var r Rules
			if opaque, err := r.ReadNFT(text); err != nil || len(opaque) > 0 {
				t.Fatal(err, opaque)
			}
			want(t, &r, out, tt.out)
			want(t, &r, back2, tt.back)
			want(t, &r, question, tt.question)
		})
	}
}

func want(t *testing.T, r *Rules, p Packet, drops []Drop) {
	t.Helper()
	if diff := cmp.Diff(drops, r.Judge(p, "atoll")); diff != "" {
		t.Errorf("%+v is judged otherwise (-want +got):\n%s", p, diff)
	}
}

const saved = `# Generated by iptables-save v1.8.9
*filter
:INPUT DROP [10:500]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
:extra - [0:0]
[3:180] -A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,8000:8100 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD ! -i docker0 -o docker0 -j DROP
-A FORWARD -s 10.0.0.0/8 -m comment --comment "a \"friend\" of ours" -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m limit --limit 3/min -j LOG --log-prefix "[BLOCK] "
-A DOCKER-USER -g extra
-A extra -i br+ -j ACCEPT
COMMIT
`

// TestUnreadableValues: what another version of nft writes in a form of its own
// may be anything, so no drop is told for it.
func TestUnreadableValues(t *testing.T) {
	for _, match := range []string{
		`{"ct": {"key": "state"}}, "right": {"|": ["new", "established"]}`,
		`{"meta": {"key": "iifname"}}, "right": {"map": {"key": {"meta": {"key": "mark"}}, "data": "@links"}}`,
		`{"payload": {"protocol": "ip", "field": "protocol"}}, "right": {"|": ["tcp", "udp"]}`,
	} {
		var rules Rules
		text := `{"nftables": [
			{"chain": {"family": "inet", "table": "mine", "name": "fw", "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
			{"rule": {"family": "inet", "table": "mine", "chain": "fw", "expr": [{"match": {"op": "==", "left": ` + match + `}}, {"accept": null}]}}]}`
		if _, err := rules.ReadNFT([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if drops := rules.Judge(out, "atoll"); len(drops) > 0 {
			t.Errorf("%s: %+v", match, drops)
		}
	}
}

func TestSavedRules(t *testing.T) {
	var r Rules
	if err := r.ReadSave(legacy, saved); err != nil {
		t.Fatal(err)
	}
	want(t, &r, out, []Drop{{"iptables filter", "FORWARD", true, "Docker"}})
	want(t, &r, back2, nil)
	want(t, &r, question, []Drop{{"iptables filter", "INPUT", true, "Docker"}})

	for old, changed := range map[string]string{
		"-i br+":                    "-i atoll+",
		"-s 10.0.0.0/8":             "-s 172.17.0.0/16",
		"FORWARD DROP":              "FORWARD ACCEPT",
		"-A DOCKER-USER -g extra":   "-A DOCKER-USER -m set --match-set friends src -j ACCEPT",
		"-m limit --limit 3/min -j": "-m limit --limit 3/min -g ACCEPT -j",
	} {
		var r Rules
		if err := r.ReadSave(legacy, strings.Replace(saved, old, changed, 1)); err != nil {
			t.Fatal(err)
		}
		want(t, &r, out, nil)
	}
	if err := r.ReadSave(legacy, "*filter\n-A NOWHERE -j DROP\n"); err == nil {
		t.Error("a rule of no chain is read")
	}
}

// TestSavedRulesReplaceOpaqueOnes: nft shows rules of iptables' own modules
// as "xt" and no more.
func TestSavedRulesReplaceOpaqueOnes(t *testing.T) {
	var r Rules
	opaque, err := r.ReadNFT([]byte(`{"nftables": [
		{"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
		{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "expr": [{"xt": {"type": "match", "name": "conntrack"}}, {"accept": null}]}}]}`))
	if err != nil || !cmp.Equal(opaque, []string{"ip filter"}) {
		t.Fatal(opaque, err)
	}
	want(t, &r, out, nil)
	if err := r.ReadSave("ip", "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n"); err != nil {
		t.Fatal(err)
	}
	want(t, &r, out, []Drop{{"ip filter", "FORWARD", true, ""}})
	want(t, &r, back2, nil)
}

// TestCircles: the kernel allows none, but text may hold anything.
func TestCircles(t *testing.T) {
	var r Rules
	text := "*filter\n:FORWARD DROP [0:0]\n:a - [0:0]\n-A FORWARD -j a\n" + strings.Repeat("-A a -j a\n", 50)
	if err := r.ReadSave(legacy, text); err != nil {
		t.Fatal(err)
	}
	want(t, &r, out, nil)
}

func FuzzReadNFT(f *testing.F) {
	f.Add([]byte(`{"nftables": [{"chain": {"family": "ip", "table": "t", "name": "c", "type": "filter", "hook": "forward", "policy": "drop"}},
		{"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": {"set": ["a", "b*"]}}}, {"drop": null}]}}]}`))
	f.Add([]byte(`{"nftables": [{"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["new", {"jump": {"target": "c"}}]]}}}]}}]}`))
	f.Add([]byte(`{"nftables": [{"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"match": {"op": "!=", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"range": ["10.0.0.1", "10.0.0.9"]}}}, {"goto": {"target": "c"}}]}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Rules
		if _, err := r.ReadNFT(text); err == nil {
			r.Judge(out)
		}
	})
}

func FuzzReadSave(f *testing.F) {
	f.Add(saved)
	f.Add("*filter\n:FORWARD DROP [0:0]\n:a - [0:0]\n-A FORWARD ! -s 10.0.0.1 -p udp --dport 53 -g a\n-A a -j a\nCOMMIT\n")
	f.Fuzz(func(t *testing.T, text string) {
		var r Rules
		if err := r.ReadSave(legacy, text); err == nil {
			r.Judge(out)
		}
	})
}
