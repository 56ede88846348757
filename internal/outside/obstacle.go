package outside

import (
	"context"
	"encoding/json"
	"fmt"
)

// Obstacle is a chain of another firewall that drops what it does not know.
// Our rules cannot overrule it: a packet passes only if every table lets it.
type Obstacle struct {
	// Table is family and name, "inet firewalld".
	Table string
	Chain string
	// Hook is "input" (questions to the resolver) or "forward" (the way out).
	Hook string
	// Why: "policy drop", or "a rule that drops everything".
	Why string
}

// Advice says what to do about any obstacle.
const Advice = "if containers cannot reach the outside or the resolver, let the bridge pass in it (Docker: chain DOCKER-USER; ufw: ufw allow in on, ufw route allow in on; firewalld: firewall-cmd --zone=trusted --add-interface)"

// Obstacles lists the chains of other firewalls that may stop containers.
// They may let ours pass by a rule of their own; only a try tells. Rules of
// the legacy iptables are not seen.
func (n *Network) Obstacles(ctx context.Context) ([]Obstacle, error) {
	chains, err := n.chains(ctx)
	if err != nil {
		return nil, err
	}
	var found []Obstacle
	for _, c := range chains {
		if c.Table == table || c.Family != "ip" && c.Family != "inet" || c.Hook != "input" && c.Hook != "forward" {
			continue
		}
		o := Obstacle{Table: c.Family + " " + c.Table, Chain: c.Name, Hook: c.Hook, Why: "policy drop"}
		if c.Policy != "drop" {
			drops, err := n.dropsAll(ctx, c)
			if err != nil {
				return nil, err
			}
			if !drops {
				continue
			}
			o.Why = "a rule that drops everything"
		}
		found = append(found, o)
	}
	return found, nil
}

// warnOfOthers tells of obstacles in the log.
func (n *Network) warnOfOthers(ctx context.Context) {
	obstacles, err := n.Obstacles(ctx)
	if err != nil {
		n.cfg.Log.Warn("Cannot see what other firewalls do", "error", err)
	}
	for _, o := range obstacles {
		n.cfg.Log.Warn("Another firewall drops what it does not know; "+Advice,
			"bridge", n.cfg.Bridge, "table", o.Table, "chain", o.Chain, "why", o.Why)
	}
}

// chain is a chain as `nft -j list chains` tells it.
type chain struct{ Family, Table, Name, Hook, Policy string }

func (n *Network) chains(ctx context.Context) ([]chain, error) {
	out, err := n.nftOutput(ctx, "-j", "list", "chains")
	if err != nil {
		return nil, fmt.Errorf("cannot list the firewall's chains: %w", err)
	}
	var answer struct{ Nftables []struct{ Chain *chain } }
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("cannot list the firewall's chains: %w", err)
	}
	var all []chain
	for _, item := range answer.Nftables {
		if item.Chain != nil {
			all = append(all, *item.Chain)
		}
	}
	return all, nil
}

// dropsAll reports whether a chain has a rule that drops or rejects whatever
// reaches it, as firewalld's have at their end.
func (n *Network) dropsAll(ctx context.Context, c chain) (bool, error) {
	out, err := n.nftOutput(ctx, "-j", "list", "chain", c.Family, c.Table, c.Name)
	if err != nil {
		return false, fmt.Errorf("cannot list the chain %s of the table %s %s: %w", c.Name, c.Family, c.Table, err)
	}
	return readDropsAll(out)
}

func readDropsAll(text []byte) (bool, error) {
	var answer struct {
		Nftables []struct {
			Rule *struct{ Expr []map[string]any }
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return false, fmt.Errorf("cannot read a chain of another firewall: %w", err)
	}
	for _, item := range answer.Nftables {
		if item.Rule != nil && unconditional(item.Rule.Expr) {
			return true, nil
		}
	}
	return false, nil
}

// unconditional reports whether a rule drops without asking anything.
func unconditional(rule []map[string]any) bool {
	drops := false
	for _, statement := range rule {
		for name := range statement {
			switch name {
			case "drop", "reject":
				drops = true
			case "counter", "log":
			default:
				return false
			}
		}
	}
	return drops
}
