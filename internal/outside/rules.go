package outside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"text/template"

	"github.com/atollhq/atoll/internal/namespace"
)

// table is the name of all our nftables tables, one of each family.
const table = "atoll_outside"

// families are those of our tables.
var families = []string{"bridge", "arp", "ip"}

// The rules, as nft reads them. They concern our bridge, its ports and its
// range only, and let pass what they do not drop: other tables (Docker, ufw)
// decide about the rest as before. DESIGN.md says what each one is for.
//
// The whole file is one transaction. Sets are declared, not emptied: their
// elements survive a restart of the server, so nothing is cut meanwhile.
var rules = template.Must(template.New("rules").Parse(`
table bridge {{.Table}} {
	set ports { type ifname . ether_addr . ipv4_addr; }
	counter spoofed { }
	counter protocol { }
	counter neighbour { }
	counter group { }
	counter options { }
	chain prerouting { type filter hook prerouting priority -300; policy accept; }
	chain arp_of_container { }
	chain ip_of_container { }
}
flush chain bridge {{.Table}} prerouting
flush chain bridge {{.Table}} arp_of_container
flush chain bridge {{.Table}} ip_of_container
table bridge {{.Table}} {
	chain prerouting {
		iifname != "{{.Port}}*" accept
		ether type ip iifname . ether saddr . ip saddr @ports goto ip_of_container
		ether type arp iifname . arp saddr ether . arp saddr ip @ports iifname . ether saddr . arp saddr ip @ports goto arp_of_container
		ether type { ip, arp } counter name spoofed drop
		counter name protocol drop
	}
	chain arp_of_container {
		arp daddr ip != {{.Gateway}} counter name neighbour drop
		ether daddr { {{.GatewayMAC}}, ff:ff:ff:ff:ff:ff } accept
		counter name neighbour drop
	}
	chain ip_of_container {
		ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 counter name group drop
		ether daddr != {{.GatewayMAC}} counter name neighbour drop
		ip hdrlength != 5 counter name options drop
	}
}
table arp {{.Table}} {
	counter bypass { }
	chain input { type filter hook input priority filter; policy accept; }
}
flush chain arp {{.Table}} input
table arp {{.Table}} {
	chain input {
		iifname "{{.Port}}*" counter name bypass drop
	}
}
table ip {{.Table}} {
	set public { type ipv4_addr . inet_service; }
	set connecting { type ipv4_addr; size 65535; flags dynamic; }
	set asking { type ipv4_addr; size 65535; flags dynamic; timeout 1m; }
	counter bypass { }
	counter private { }
	counter neighbour { }
	counter metadata { }
	counter inbound { }
	counter node { }
	counter output { }
	counter invalid { }
	counter connections { }
	counter questions { }
	chain connection { }
	chain raw_prerouting { type filter hook prerouting priority raw; policy accept; }
	chain raw_output { type filter hook output priority raw; policy accept; }
	chain input { type filter hook input priority filter; policy accept; }
	chain forward { type filter hook forward priority filter; policy accept; }
	chain output { type filter hook output priority filter; policy accept; }
	chain postrouting { type nat hook postrouting priority srcnat; policy accept; }
}
flush chain ip {{.Table}} connection
flush chain ip {{.Table}} raw_prerouting
flush chain ip {{.Table}} raw_output
flush chain ip {{.Table}} input
flush chain ip {{.Table}} forward
flush chain ip {{.Table}} output
flush chain ip {{.Table}} postrouting
table ip {{.Table}} {
	chain raw_prerouting {
		iifname "{{.Port}}*" counter name bypass drop
		iifname != { "{{.Bridge}}", "lo" } ip saddr {{.Prefix}} counter name inbound drop
		iifname != { "{{.Bridge}}", "lo" } ip daddr {{.Prefix}} counter name inbound drop
		iifname "{{.Bridge}}" udp dport 53 update @asking { ip saddr limit rate over {{.Questions}}/second burst {{.QuestionsAtOnce}} packets } counter name questions drop
		iifname "{{.Bridge}}" ip daddr {{.Gateway}} udp dport 53 notrack
	}
	chain raw_output {
		oifname "{{.Bridge}}" ip saddr {{.Gateway}} udp sport 53 notrack
	}
	chain input {
		iifname != "{{.Bridge}}" accept
		ip daddr {{.Gateway}} udp dport 53 accept
		ct direction reply ct state established,related accept
		ip daddr {{.Gateway}} tcp dport 53 goto connection
{{- range .Public}}
		{{if not .Addr.IsUnspecified}}ip daddr {{.Addr}} {{end}}tcp dport {{.Port}} goto connection
{{- end}}
		counter name node drop
	}
	chain forward {
		iifname "{{.Bridge}}" oifname "{{.Bridge}}" counter name neighbour drop
		iifname "{{.Bridge}}" ip daddr {{.Prefix}} counter name neighbour drop
		iifname "{{.Bridge}}" ip daddr {{.Private}} counter name private drop
		iifname "{{.Bridge}}" ip daddr { {{.Metadata}} } counter name metadata drop
		iifname "{{.Bridge}}" ip daddr { {{.Surroundings}} } {{with .Allowed}}ip daddr != { {{.}} } {{end}}counter name private drop
		iifname "{{.Bridge}}" ct state invalid counter name invalid drop
		iifname "{{.Bridge}}" ct state new goto connection
		oifname "{{.Bridge}}" ct direction reply ct state established,related accept
		oifname "{{.Bridge}}" counter name inbound drop
	}
	chain connection {
		ct state established accept
		add @connecting { ip saddr ct count over {{.Connections}} } counter name connections drop
		accept
	}
	chain output {
		oifname != "{{.Bridge}}" accept
		ip saddr {{.Gateway}} udp sport 53 accept
		icmp type destination-unreachable icmp code port-unreachable drop
		ct state established,related accept
		ip daddr . tcp dport @public accept
		counter name output drop
	}
	chain postrouting {
		ip saddr {{.Prefix}} oifname != { "{{.Bridge}}", "lo" } masquerade
	}
}
`))

// installRules writes the chains and leaves the sets as they are.
func (n *Network) installRules() error {
	return n.install(context.Background(), "")
}

// installRulesAndSets writes the chains, and makes the sets exactly those of
// the endpoints.
func (n *Network) installRulesAndSets(ctx context.Context) error {
	var sets strings.Builder
	fmt.Fprintf(&sets, "flush set bridge %[1]s ports\nflush set ip %[1]s public\n", table)
	for _, e := range n.endpoints {
		sets.WriteString(elements("add", e))
	}
	return n.install(ctx, sets.String())
}

func (n *Network) install(ctx context.Context, sets string) error {
	var text bytes.Buffer
	err := rules.Execute(&text, map[string]any{
		"Table": table, "Port": portPrefix, "Bridge": n.cfg.Bridge, "Gateway": n.Gateway(), "Prefix": n.cfg.Prefix,
		"GatewayMAC": hardwareAddr(n.Gateway()), "Private": privatePrefix, "Metadata": list(metadata),
		"Surroundings": list(surroundings), "Allowed": list(n.cfg.AllowPrivate), "Public": n.cfg.Public,
		"Connections": maxConnections, "Questions": maxQuestions, "QuestionsAtOnce": maxQuestionsAtOnce,
	})
	if err != nil {
		return fmt.Errorf("cannot write the firewall rules: %w", err)
	}
	if err := n.nft(ctx, text.String()+sets); err != nil {
		return fmt.Errorf("cannot install the firewall rules: %w", err)
	}
	return n.rememberRules(ctx)
}

// changeSets runs a script that changes elements. Where somebody flushed the
// rules, they are written anew first: no container has to wait for a repair.
func (n *Network) changeSets(ctx context.Context, script string) error {
	err := n.nft(ctx, script)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if again := n.installRulesAndSets(ctx); again != nil {
		return errors.Join(err, again)
	}
	n.cfg.Log.Warn("The firewall rules were damaged and are written anew", "error", err)
	return n.nft(ctx, script)
}

// list is a list as nft reads it, without the braces.
func list[T any](of []T) string {
	words := make([]string, len(of))
	for i, v := range of {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ", ")
}

func (n *Network) removeRules(ctx context.Context) error {
	var script strings.Builder
	for _, family := range families {
		// Declared first, so that deleting what is not there is no error.
		fmt.Fprintf(&script, "table %[1]s %[2]s {}\ndelete table %[1]s %[2]s\n", family, table)
	}
	return n.nft(ctx, script.String())
}

// elements are the lines that add or delete what the sets have of an endpoint.
func elements(verb string, e Endpoint) string {
	return fmt.Sprintf("%s element bridge %s ports { %q . %s . %s }\n", verb, table, hostEnd(e.ID), hardwareAddr(e.Addr), e.Addr) + public(verb, e)
}

func public(verb string, e Endpoint) string {
	if e.PublicPort == 0 {
		return ""
	}
	return fmt.Sprintf("%s element ip %s public { %s . %d }\n", verb, table, e.Addr, e.PublicPort)
}

// forgetPublic deletes the public port of an endpoint. Added first: adding
// twice and deleting once are no errors, deleting what is not there would be.
func forgetPublic(e Endpoint) string { return public("add", e) + public("delete", e) }

// forget deletes an endpoint from the sets.
func (n *Network) forget(ctx context.Context, e Endpoint) error {
	if err := n.changeSets(ctx, elements("add", e)+elements("delete", e)); err != nil {
		return fmt.Errorf("cannot remove container %s from the firewall: %w", e.ID, err)
	}
	return nil
}

// nft runs a script as one transaction.
func (n *Network) nft(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	_, err := n.run(cmd)
	return err
}

// nftOutput runs a command that reads.
func (n *Network) nftOutput(ctx context.Context, args ...string) ([]byte, error) {
	return n.run(exec.CommandContext(ctx, "nft", args...))
}

func (n *Network) run(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := namespace.Do(n.ns, cmd.Run)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("the program nft is missing: apt-get install nftables")
	}
	if err != nil {
		line, _, _ := strings.Cut(stderr.String(), "\n")
		return nil, fmt.Errorf("nft: %w: %s", err, line)
	}
	return stdout.Bytes(), nil
}
