package firewall

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// legacy is the family of rules of iptables that are none of nftables.
const legacy = "iptables"

// ReadSave reads what iptables-save prints. Its chains replace those of the
// same family and table: "ip" for iptables-nft-save, whose rules nft shows
// too, "iptables" for iptables-legacy-save.
func (r *Rules) ReadSave(family, text string) error {
	table := ""
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line == "COMMIT":
		case line[0] == '*':
			table = line[1:]
		case line[0] == ':':
			fields := strings.Fields(line[1:])
			if len(fields) < 2 || table == "" {
				return fmt.Errorf("cannot read line %d of iptables-save: %q", number+1, line)
			}
			c := &chain{kind: table}
			if fields[1] != "-" {
				c.hook, c.drops = strings.ToLower(fields[0]), fields[1] == "DROP"
			}
			r.add(place{family, table, fields[0]}, c)
		case strings.HasPrefix(line, "-A "), strings.HasPrefix(line, "["):
			name, out := readSaved(words(line))
			c := r.chains[place{family, table, name}]
			if c == nil {
				return fmt.Errorf("cannot read line %d of iptables-save: the chain %q was not declared", number+1, name)
			}
			c.rules = append(c.rules, out)
		default:
			return fmt.Errorf("cannot read line %d of iptables-save: %q", number+1, line)
		}
	}
	return nil
}

// readSaved reads a rule, "-A CHAIN conditions -j TARGET".
func readSaved(args []string) (chain string, out rule) {
	negated := false
	next := func(i int) string {
		if i+1 < len(args) {
			return args[i+1]
		}
		return ""
	}
	condition := func(c condition) {
		if negated {
			c = not(c)
		}
		out.when, negated = append(out.when, c), false
	}
	for i := 0; i < len(args); i++ {
		arg, param := args[i], next(i)
		used := 1
		switch arg {
		case "!":
			negated, used = true, 0
		case "-A":
			chain = param
		case "-i":
			condition(func(p Packet) truth { return matchLink(savedLink(param), p.In) })
		case "-o":
			condition(func(p Packet) truth { return matchLink(savedLink(param), p.Out) })
		case "-s":
			condition(func(p Packet) truth { return savedAddr(param).hasAddr(p.From) })
		case "-d":
			condition(func(p Packet) truth { return savedAddr(param).hasAddr(p.To) })
		case "-p":
			condition(func(p Packet) truth { return is(param == "all" || param == p.Protocol) })
		case "--dport", "--dports":
			condition(func(p Packet) truth { return savedPorts(param, p.Port) })
		case "--sport", "--sports":
			condition(func(p Packet) truth { return savedPorts(param, p.FromPort) })
		case "--ctstate", "--state":
			condition(func(p Packet) truth { return savedState(param, p.State) })
		case "-j", "-g":
			out.then = append(out.then, savedTarget(arg, param))
			return chain, out // what follows are options of the target
		case "-m", "--comment", "--limit-burst", "--limit-htable-size":
		default:
			used = 0
			if strings.HasPrefix(arg, "-") {
				condition(unknown)
			}
		}
		i += used
	}
	return chain, out
}

func savedTarget(option, name string) branch {
	switch name {
	case "ACCEPT":
		return branch{verdict: accept}
	case "DROP", "REJECT":
		return branch{verdict: drop}
	case "RETURN":
		return branch{verdict: back}
	}
	if name == strings.ToUpper(name) && targets[name] {
		return branch{when: func(Packet) truth { return no }, verdict: back} // goes on
	}
	if option == "-g" {
		return branch{verdict: leap, target: name}
	}
	return branch{verdict: jump, target: name}
}

// targets that change or note something and let the packet go on.
var targets = map[string]bool{"LOG": true, "NFLOG": true, "MARK": true, "CONNMARK": true, "TCPMSS": true, "CT": true, "AUDIT": true, "SET": true, "CHECKSUM": true, "DSCP": true, "TRACE": true}

// savedLink turns iptables' sign for anything, a final +, into ours.
func savedLink(name string) string {
	if front, ok := strings.CutSuffix(name, "+"); ok {
		return front + "*"
	}
	return name
}

func savedAddr(text string) value {
	if p, err := netip.ParsePrefix(text); err == nil {
		return value{prefix: p.Masked()}
	}
	return value{text: text}
}

func savedPorts(list string, port uint16) truth {
	for _, item := range strings.Split(list, ",") {
		low, high, found := strings.Cut(item, ":")
		if !found {
			high = low
		}
		a, err1 := strconv.ParseUint(low, 10, 16)
		b, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil {
			return maybe
		}
		if a <= uint64(port) && uint64(port) <= b {
			return yes
		}
	}
	return no
}

func savedState(list, state string) truth {
	for _, item := range strings.Split(strings.ToLower(list), ",") {
		if item == state {
			return yes
		}
	}
	return no
}

// words splits a line as a shell would, as far as iptables-save writes quotes,
// and leaves the counters at its front out.
func words(line string) []string {
	var out []string
	var word strings.Builder
	inQuotes, any := false, false
	end := func() {
		if any {
			out = append(out, word.String())
		}
		word.Reset()
		any = false
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && inQuotes && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == '"':
			inQuotes, any = !inQuotes, true
		case c == ' ' && !inQuotes:
			end()
		default:
			word.WriteByte(c)
			any = true
		}
	}
	end()
	if len(out) > 0 && strings.HasPrefix(out[0], "[") {
		out = out[1:]
	}
	return out
}
