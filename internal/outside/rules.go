package outside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"text/template"
)

// table is the name of both nftables tables, family bridge and family ip.
const table = "atoll_outside"

// The rules, as nft reads them. They concern the bridge's own traffic only,
// and let pass what they do not drop: other tables (Docker, ufw) decide about
// the rest as before. DESIGN.md says what each one is for.
//
// The whole file is one transaction. Sets are declared, not emptied: their
// elements survive a restart of the server, so nothing is cut meanwhile.
var rules = template.Must(template.New("rules").Parse(`
table bridge {{.Table}} {
	set ports { type ifname . ether_addr . ipv4_addr; }
	counter spoofed { }
	counter protocol { }
	chain prerouting { type filter hook prerouting priority -300; policy accept; }
}
flush chain bridge {{.Table}} prerouting
table bridge {{.Table}} {
	chain prerouting {
		iifname != "{{.Port}}*" accept
		ether type ip iifname . ether saddr . ip saddr @ports accept
		ether type arp iifname . arp saddr ether . arp saddr ip @ports iifname . ether saddr . arp saddr ip @ports accept
		ether type { ip, arp } counter name spoofed drop
		counter name protocol drop
	}
}
table ip {{.Table}} {
	set public { type ipv4_addr . inet_service; }
	counter private { }
	counter neighbour { }
	counter metadata { }
	counter inbound { }
	counter node { }
	counter output { }
	chain raw_prerouting { type filter hook prerouting priority raw; policy accept; }
	chain raw_output { type filter hook output priority raw; policy accept; }
	chain input { type filter hook input priority filter; policy accept; }
	chain forward { type filter hook forward priority filter; policy accept; }
	chain output { type filter hook output priority filter; policy accept; }
	chain postrouting { type nat hook postrouting priority srcnat; policy accept; }
}
flush chain ip {{.Table}} raw_prerouting
flush chain ip {{.Table}} raw_output
flush chain ip {{.Table}} input
flush chain ip {{.Table}} forward
flush chain ip {{.Table}} output
flush chain ip {{.Table}} postrouting
table ip {{.Table}} {
	chain raw_prerouting {
		iifname "{{.Bridge}}" ip daddr {{.Gateway}} udp dport 53 notrack
	}
	chain raw_output {
		oifname "{{.Bridge}}" ip saddr {{.Gateway}} udp sport 53 notrack
	}
	chain input {
		iifname != "{{.Bridge}}" accept
		ip daddr {{.Gateway}} udp dport 53 accept
		ip daddr {{.Gateway}} tcp dport 53 accept
		ct state established,related accept
		ip daddr != {{.Gateway}} tcp dport { {{.Public}} } accept
		counter name node drop
	}
	chain forward {
		iifname "{{.Bridge}}" oifname "{{.Bridge}}" counter name neighbour drop
		iifname "{{.Bridge}}" ip daddr {{.Private}} counter name private drop
		iifname "{{.Bridge}}" ip daddr {{.Prefix}} counter name neighbour drop
		iifname "{{.Bridge}}" ip daddr 169.254.0.0/16 counter name metadata drop
		oifname "{{.Bridge}}" ct state established,related accept
		oifname "{{.Bridge}}" counter name inbound drop
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
		ip saddr {{.Prefix}} oifname != "{{.Bridge}}" masquerade
	}
}
`))

// privatePrefix must never be routed by the node: it exists in private
// networks only (hole b of the package's DESIGN.md).
const privatePrefix = "10.240.0.0/22"

func (n *Network) installRules() error {
	public := make([]string, 0, len(n.cfg.PublicPorts))
	for _, p := range n.cfg.PublicPorts {
		public = append(public, fmt.Sprint(p))
	}
	var text bytes.Buffer
	err := rules.Execute(&text, map[string]any{
		"Table": table, "Port": portPrefix, "Bridge": n.cfg.Bridge, "Gateway": n.Gateway(), "Prefix": n.cfg.Prefix,
		"Private": privatePrefix, "Public": strings.Join(public, ", "),
	})
	if err != nil {
		return fmt.Errorf("cannot write the firewall rules: %w", err)
	}
	if _, err := nft(context.Background(), text.String()); err != nil {
		return fmt.Errorf("cannot install the firewall rules: %w", err)
	}
	return nil
}

func (n *Network) removeRules(ctx context.Context) error {
	// Declared first, so that deleting what is not there is no error.
	_, err := nft(ctx, fmt.Sprintf("table bridge %[1]s {}\ntable ip %[1]s {}\ndelete table bridge %[1]s\ndelete table ip %[1]s\n", table))
	return err
}

// writeSets makes the elements of the sets exactly those of the endpoints.
func (n *Network) writeSets(ctx context.Context) error {
	var text strings.Builder
	fmt.Fprintf(&text, "flush set bridge %[1]s ports\nflush set ip %[1]s public\n", table)
	for _, e := range n.endpoints {
		text.WriteString(elements("add", e))
	}
	if _, err := nft(ctx, text.String()); err != nil {
		return fmt.Errorf("cannot write the firewall's sets: %w", err)
	}
	return nil
}

func (n *Network) addElements(ctx context.Context, e Endpoint) error {
	if _, err := nft(ctx, elements("add", e)); err != nil {
		return fmt.Errorf("cannot let container %s through the firewall: %w", e.ID, err)
	}
	return nil
}

func (n *Network) deleteElements(ctx context.Context, e Endpoint) error {
	// Added first: adding twice and deleting once are no errors, deleting
	// what is not there would be.
	if _, err := nft(ctx, elements("add", e)+elements("delete", e)); err != nil {
		return fmt.Errorf("cannot remove container %s from the firewall: %w", e.ID, err)
	}
	return nil
}

func elements(verb string, e Endpoint) string {
	text := fmt.Sprintf("%s element bridge %s ports { %q . %s . %s }\n", verb, table, hostEnd(e.ID), hardwareAddr(e.Addr), e.Addr)
	if e.PublicPort != 0 {
		text += fmt.Sprintf("%s element ip %s public { %s . %d }\n", verb, table, e.Addr, e.PublicPort)
	}
	return text
}

// Drop reasons, the names of the counters.
const (
	// DropSpoofed: an IP or ARP packet that is not from its port's container.
	DropSpoofed = "spoofed"
	// DropProtocol: neither IPv4 nor ARP (IPv6, VLAN tags, …).
	DropProtocol = "protocol"
	// DropPrivate: to an address of a private network.
	DropPrivate = "private"
	// DropNeighbour: to another container.
	DropNeighbour = "neighbour"
	// DropMetadata: to a link-local address, such as 169.254.169.254.
	DropMetadata = "metadata"
	// DropInbound: a new connection from outside to a container.
	DropInbound = "inbound"
	// DropNode: to a service of the node.
	DropNode = "node"
	// DropOutput: from the node to a container's port that is not public.
	DropOutput = "output"
)

// Drops returns how many packets were dropped since the rules were first
// installed, by reason.
func (n *Network) Drops(ctx context.Context) (map[string]uint64, error) {
	drops := map[string]uint64{}
	for _, family := range []string{"bridge", "ip"} {
		out, err := exec.CommandContext(ctx, "nft", "-j", "list", "counters", "table", family, table).Output()
		if err != nil {
			return nil, fmt.Errorf("cannot read the firewall's counters: %w", explain(err))
		}
		var answer struct {
			Nftables []struct {
				Counter *struct {
					Name    string `json:"name"`
					Packets uint64 `json:"packets"`
				} `json:"counter"`
			} `json:"nftables"`
		}
		if err := json.Unmarshal(out, &answer); err != nil {
			return nil, fmt.Errorf("cannot read the firewall's counters: %w", err)
		}
		for _, item := range answer.Nftables {
			if item.Counter != nil {
				drops[item.Counter.Name] = item.Counter.Packets
			}
		}
	}
	return drops, nil
}

// nft runs a script as one transaction.
func nft(ctx context.Context, script string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("the program nft is missing: apt-get install nftables")
	}
	if err != nil {
		return out, fmt.Errorf("nft: %w: %s", err, firstLine(out))
	}
	return out, nil
}

func explain(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, firstLine(exit.Stderr))
	}
	return err
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}
