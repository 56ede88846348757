package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/doctor/firewall"
)

// Bridge is what the firewall has to let pass.
type Bridge struct {
	// Name is that of the interface all containers are behind.
	Name string
	// Prefix is their range; its first address is the gateway and resolver.
	Prefix netip.Prefix
	// Port is the TCP port at which the router reaches containers.
	Port uint16
	// Public are the TCP ports that visitors come to.
	Public []uint16
	// OwnTables is what the names of our own tables begin with.
	OwnTables string
}

// Forwarding checks that no firewall of the machine drops what containers send
// and get. The rules are followed for a packet of each kind.
func Forwarding(b Bridge) Check {
	return Check{"firewall", func(ctx context.Context) (string, error) {
		rules, err := readRules(ctx)
		if err != nil {
			return "", Warn("whether one drops what containers send cannot be told: %w", err)
		}
		uplink := defaultLink()
		var errs []error
		said := map[string]bool{}
		for _, w := range b.ways(uplink) {
			for _, d := range rules.Judge(w.packet, b.OwnTables) {
				key := d.Table + d.Chain + w.packet.Hooks[len(w.packet.Hooks)-1]
				if said[key] {
					continue // one remedy for both directions
				}
				said[key] = true
				text := fmt.Errorf("%s drops what %s: %s", describe(d), w.is, w.remedy(d))
				if w.optional {
					text = Warn("%w", text)
				}
				errs = append(errs, text)
			}
		}
		if len(errs) == 0 {
			return "lets containers' packets pass", nil
		}
		// One failure makes all a failure.
		slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(string(outcome(a)), string(outcome(b))) })
		if outcome(errs[0]) == Failure {
			for i, err := range errs {
				errs[i] = errors.New(err.Error())
			}
		}
		return "", errors.Join(errs...)
	}}
}

// way is one kind of packet.
type way struct {
	is       string
	packet   firewall.Packet
	remedies map[string]string // by owner; "" for one nobody is known for
	optional bool
}

func (b Bridge) ways(uplink string) []way {
	gateway := b.Prefix.Addr().Next()
	container, host := gateway.Next(), netip.MustParseAddr("198.51.100.10")
	const client, https, dns = 40000, 443, 53
	out := map[string]string{
		"Docker":    fmt.Sprintf("iptables -I DOCKER-USER -i %[1]s -j ACCEPT; iptables -I DOCKER-USER -o %[1]s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", b.Name),
		"ufw":       fmt.Sprintf("ufw route allow in on %s", b.Name),
		"firewalld": fmt.Sprintf("firewall-cmd --permanent --zone=trusted --add-interface=%s; firewall-cmd --reload", b.Name),
		"":          fmt.Sprintf("let packets from %[1]s pass in it, and established ones to %[1]s (nft insert rule TABLE CHAIN iifname %[1]s accept; nft insert rule TABLE CHAIN oifname %[1]s ct state established,related accept)", b.Name),
	}
	in := map[string]string{
		"ufw":       fmt.Sprintf("ufw allow in on %s", b.Name),
		"firewalld": out["firewalld"],
		"":          fmt.Sprintf("let packets from %[1]s pass in it (nft insert rule TABLE CHAIN iifname %[1]s accept); Atoll's own rules let only DNS and public ports through", b.Name),
	}
	ways := []way{
		{is: "containers send to the outside", remedies: out, packet: firewall.Packet{Hooks: []string{"prerouting", "forward", "postrouting"},
			In: b.Name, Out: uplink, From: container, To: host, Protocol: "tcp", FromPort: client, Port: https, State: "new"}},
		{is: "the outside answers to containers", remedies: out, packet: firewall.Packet{Hooks: []string{"prerouting", "forward", "postrouting"},
			In: uplink, Out: b.Name, From: host, To: container, Protocol: "tcp", FromPort: https, Port: client, State: "established"}},
		{is: "containers ask the resolver", remedies: in, packet: firewall.Packet{Hooks: []string{"prerouting", "input"},
			In: b.Name, From: container, To: gateway, Protocol: "udp", FromPort: client, Port: dns, State: "untracked"}},
		{is: "the resolver answers to containers", remedies: map[string]string{"": fmt.Sprintf("let packets to %[1]s pass in it (nft insert rule TABLE CHAIN oifname %[1]s accept)", b.Name)},
			packet: firewall.Packet{Hooks: []string{"output", "postrouting"}, Out: b.Name, From: gateway, To: container, Protocol: "udp", FromPort: dns, Port: client, State: "untracked"}},
		{is: "the router sends to web containers", remedies: map[string]string{"": fmt.Sprintf("let packets to %[1]s pass in it (nft insert rule TABLE CHAIN oifname %[1]s accept)", b.Name)},
			packet: firewall.Packet{Hooks: []string{"output", "postrouting"}, Out: b.Name, From: gateway, To: container, Protocol: "tcp", FromPort: client, Port: b.Port, State: "new"}},
		{is: "web containers answer to the router", remedies: in, packet: firewall.Packet{Hooks: []string{"prerouting", "input"},
			In: b.Name, From: container, To: gateway, Protocol: "tcp", FromPort: b.Port, Port: client, State: "established"}},
	}
	for _, port := range b.Public {
		ways = append(ways, way{is: fmt.Sprintf("visitors send to TCP port %d", port), optional: true,
			remedies: map[string]string{
				"ufw":       fmt.Sprintf("ufw allow %d/tcp", port),
				"firewalld": fmt.Sprintf("firewall-cmd --permanent --add-port=%d/tcp; firewall-cmd --reload", port),
				"":          fmt.Sprintf("let TCP port %d pass in it, unless nobody is to reach it", port),
			},
			packet: firewall.Packet{Hooks: []string{"prerouting", "input"}, In: uplink, From: host, To: netip.MustParseAddr("203.0.113.2"),
				Protocol: "tcp", FromPort: client, Port: port, State: "new"}})
	}
	return ways
}

func (w way) remedy(d firewall.Drop) string {
	text := w.remedies[d.Owner]
	if text == "" {
		text = w.remedies[""]
	}
	return strings.ReplaceAll(text, "TABLE CHAIN", d.Table+" "+d.Chain)
}

func describe(d firewall.Drop) string {
	by := "a rule"
	if d.Policy {
		by = "the policy"
	}
	text := fmt.Sprintf("%s of the chain %s (%s)", by, d.Chain, d.Table)
	if d.Owner != "" {
		return d.Owner + ", by " + text + ","
	}
	return text
}

// readRules reads nftables, and iptables where nftables does not show it.
func readRules(ctx context.Context) (*firewall.Rules, error) {
	text, err := output(ctx, "nft", "-j", "list", "ruleset")
	if err != nil {
		return nil, err
	}
	rules := &firewall.Rules{}
	opaque, err := rules.ReadNFT(text)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(opaque, func(table string) bool { return strings.HasPrefix(table, "ip ") }) {
		if text, err := output(ctx, "iptables-nft-save"); err == nil {
			if err := rules.ReadSave("ip", string(text)); err != nil {
				return nil, err
			}
		}
	}
	// Only where its tables are in use: its programs load them otherwise.
	used, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err == nil && len(strings.TrimSpace(string(used))) > 0 {
		text, err := output(ctx, "iptables-legacy-save")
		if err != nil {
			return nil, fmt.Errorf("this machine has rules of iptables-legacy that cannot be read (%w): apt-get install iptables", err)
		}
		if err := rules.ReadSave("iptables", string(text)); err != nil {
			return nil, err
		}
	}
	return rules, nil
}

func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	text, err := exec.CommandContext(ctx, name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		line, _, _ := strings.Cut(string(exit.Stderr), "\n")
		return nil, fmt.Errorf("cannot read the firewall's rules: %s: %w: %s", name, err, line)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the firewall's rules: %w", err)
	}
	return text, nil
}

// defaultLink is the interface of the default route, or a name that none has.
func defaultLink() string {
	const none = "uplink?"
	file, err := os.Open("/proc/thread-self/net/route")
	if err != nil {
		return none
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		// Iface Destination Gateway Flags RefCnt Use Metric Mask ...
		if f := strings.Fields(lines.Text()); len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			return f[0]
		}
	}
	return none
}
