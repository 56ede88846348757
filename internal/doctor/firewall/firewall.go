package firewall

import (
	"net/netip"
	"slices"
	"strings"
)

// Packet is the first packet of a conversation, or one of its answers, as
// rules see it. Fields that do not apply are zero.
type Packet struct {
	// Hooks are the hooks it passes, in order: "prerouting", "forward", ...
	Hooks []string
	// In and Out are names of interfaces, "" if there is none.
	In, Out  string
	From, To netip.Addr
	// Protocol is "tcp", "udp" or "icmp".
	Protocol       string
	FromPort, Port uint16
	// State is what connection tracking says: "new", "established" or
	// "untracked".
	State string
}

// Drop is a place where a packet ends.
type Drop struct {
	// Table is the family and the name, "ip filter"; of iptables, "iptables
	// filter".
	Table string
	// Chain is the base chain, "FORWARD"; Policy tells that nothing in it
	// decided.
	Chain  string
	Policy bool
	// Owner is who is known to write such rules: "Docker", "ufw", "firewalld",
	// or "".
	Owner string
}

// Rules are all rules of a machine.
type Rules struct {
	chains map[place]*chain
	// order has the places of all chains, as they were read.
	order []place
}

// place is where a chain is.
type place struct{ family, table, name string }

type chain struct {
	// hook is "" for a chain that only others jump to.
	hook, kind string
	// drops is the policy of a base chain.
	drops bool
	rules []rule
}

// rule is a list of what is tried in order: a condition that is not met ends
// it.
type rule struct {
	when []condition
	// then is called with the packet when all conditions may be met.
	then []branch
}

// branch is a verdict, for a condition of its own (a verdict map has several).
type branch struct {
	when    condition
	verdict verdict
	target  string
}

type verdict uint8

const (
	accept verdict = 1 << iota
	drop
	// back: the chain ended or returned.
	back
	jump
	leap // goto
)

// truth is what is known of a condition.
type truth uint8

const (
	no truth = iota
	maybe
	yes
)

type condition func(Packet) truth

// Judge returns where a packet is dropped for certain. Tables whose names
// begin with one of except are left out.
func (r *Rules) Judge(p Packet, except ...string) []Drop {
	var drops []Drop
	for _, at := range r.order {
		c := r.chains[at]
		if c.hook == "" || c.kind == "nat" || !slices.Contains(p.Hooks, c.hook) || !seesIPv4(at.family) || hasPrefix(at.table, except) {
			continue
		}
		w := walker{rules: r, packet: p, left: mostSteps}
		outcomes := w.walk(at, 0)
		policy := outcomes == back
		if outcomes&back != 0 {
			outcomes &^= back
			if c.drops {
				outcomes |= drop
			} else {
				outcomes |= accept
			}
		}
		if outcomes == drop {
			drops = append(drops, Drop{Table: at.family + " " + at.table, Chain: at.name, Policy: policy, Owner: r.owner(at)})
		}
	}
	return drops
}

// Private

// What is looked at before the answer is that it cannot be told: the nesting
// that the kernel allows, and more rules than a packet could pass in time.
const (
	deepest   = 32
	mostSteps = 200_000
)

// walker follows one packet.
type walker struct {
	rules  *Rules
	packet Packet
	left   int
}

// walk returns every way in which a chain can end for the packet: a set of
// accept, drop and back.
func (w *walker) walk(at place, depth int) verdict {
	c := w.rules.chains[at]
	if c == nil || depth > deepest {
		return accept | drop | back
	}
	var ends verdict
	for _, rule := range c.rules {
		if w.left--; w.left < 0 {
			return accept | drop | back
		}
		met := all(rule.when, w.packet)
		for _, b := range rule.then {
			holds := met
			if b.when != nil {
				holds = min(holds, b.when(w.packet))
			}
			if holds == no {
				continue
			}
			end, goesOn := w.follow(at, b, depth)
			ends |= end
			if holds == yes && !goesOn {
				return ends
			}
		}
	}
	return ends | back
}

// follow returns how a branch can end its chain, and whether the rules behind
// it can be reached.
func (w *walker) follow(at place, b branch, depth int) (ends verdict, goesOn bool) {
	at.name = b.target
	switch b.verdict {
	case jump:
		ends = w.walk(at, depth+1)
		return ends &^ back, ends&back != 0
	case leap:
		return w.walk(at, depth+1), false
	default:
		return b.verdict, false
	}
}

func all(conditions []condition, p Packet) truth {
	met := yes
	for _, c := range conditions {
		met = min(met, c(p))
	}
	return met
}

// owner recognises who writes the rules of a table.
func (r *Rules) owner(at place) string {
	if at.table == "firewalld" {
		return "firewalld"
	}
	found := ""
	for _, other := range r.order {
		if other.family != at.family || other.table != at.table {
			continue
		}
		switch {
		case strings.HasPrefix(other.name, "ufw-"):
			return "ufw" // its policy counts also where Docker is
		case strings.HasPrefix(other.name, "DOCKER"):
			found = "Docker"
		case found == "" && strings.HasPrefix(other.name, "KUBE-"):
			found = "Kubernetes"
		}
	}
	return found
}

func (r *Rules) add(at place, c *chain) *chain {
	if r.chains == nil {
		r.chains = map[place]*chain{}
	}
	if r.chains[at] == nil {
		r.order = append(r.order, at)
	}
	r.chains[at] = c
	return c
}

func seesIPv4(family string) bool {
	return family == "ip" || family == "inet" || family == legacy
}

func hasPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}
