package firewall

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// ReadNFT reads what `nft -j list ruleset` prints. opaque names the tables, as
// "ip filter", that hold rules nft cannot show (those of iptables' own
// modules): ReadSave knows them better.
func (r *Rules) ReadNFT(text []byte) (opaque []string, err error) {
	var list struct {
		Items []struct {
			Chain *nftChain `json:"chain"`
			Rule  *nftRule  `json:"rule"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("cannot read the firewall's rules: %w", err)
	}
	seen := map[string]bool{}
	for _, item := range list.Items {
		switch {
		case item.Chain != nil:
			c := item.Chain
			r.add(place{c.Family, c.Table, c.Name}, &chain{hook: c.Hook, kind: c.Type, drops: c.Policy == "drop"})
		case item.Rule != nil:
			at := place{item.Rule.Family, item.Rule.Table, item.Rule.Chain}
			c := r.chains[at]
			if c == nil {
				c = r.add(at, &chain{})
			}
			rule, known := item.Rule.read()
			c.rules = append(c.rules, rule)
			if table := at.family + " " + at.table; !known && !seen[table] {
				seen[table] = true
				opaque = append(opaque, table)
			}
		}
	}
	return opaque, nil
}

type nftChain struct{ Family, Table, Name, Type, Hook, Policy string }

type nftRule struct {
	Family, Table, Chain string
	Expr                 []map[string]json.RawMessage
}

// read translates a rule; known is false when it has an expression of
// iptables that nft cannot show.
func (n nftRule) read() (out rule, known bool) {
	known = true
	for _, statement := range n.Expr {
		for key, body := range statement {
			switch key {
			case "match":
				out.when = append(out.when, readMatch(body))
			case "vmap":
				out.then = append(out.then, readMap(body)...)
			case "accept", "drop", "reject", "return", "jump", "goto":
				out.then = append(out.then, readVerdict(statement))
			case "limit", "quota", "connlimit", "ct count", "queue":
				out.when = append(out.when, unknown)
			case "xt":
				known = false
				out.when = append(out.when, unknown)
			}
		}
	}
	return out, known
}

func readVerdict(statement map[string]json.RawMessage) branch {
	for key, body := range statement {
		var to struct{ Target string }
		switch key {
		case "accept":
			return branch{verdict: accept}
		case "drop", "reject":
			return branch{verdict: drop}
		case "return":
			return branch{verdict: back}
		case "jump", "goto":
			b := branch{verdict: jump}
			if key == "goto" {
				b.verdict = leap
			}
			if json.Unmarshal(body, &to) == nil {
				b.target = to.Target
			}
			return b
		}
	}
	return branch{when: unknown, verdict: accept}
}

func readMatch(body json.RawMessage) condition {
	var m struct {
		Op          string
		Left, Right json.RawMessage
	}
	if json.Unmarshal(body, &m) != nil {
		return unknown
	}
	is := compare(m.Left, m.Right)
	switch m.Op {
	case "==", "in":
		return is
	case "!=":
		return not(is)
	}
	return unknown
}

// readMap reads a verdict map: one branch for each of its elements.
func readMap(body json.RawMessage) []branch {
	var m struct {
		Key  json.RawMessage
		Data struct{ Set [][2]json.RawMessage }
	}
	if json.Unmarshal(body, &m) != nil {
		// A named map, or a form of another version.
		return []branch{{when: unknown, verdict: accept}, {when: unknown, verdict: drop}}
	}
	var out []branch
	for _, element := range m.Data.Set {
		var statement map[string]json.RawMessage
		if json.Unmarshal(element[1], &statement) != nil {
			continue
		}
		b := readVerdict(statement)
		b.when = compare(m.Key, element[0])
		out = append(out, b)
	}
	return out
}

// compare makes the condition that what left names of a packet is right.
func compare(left, right json.RawMessage) condition {
	var l struct {
		Meta    *struct{ Key string }
		Payload *struct{ Protocol, Field string }
		CT      *struct{ Key string } `json:"ct"`
	}
	if json.Unmarshal(left, &l) != nil {
		return unknown
	}
	values, ok := readValues(right)
	if !ok {
		return unknown
	}
	switch {
	case l.Meta != nil:
		return compareMeta(l.Meta.Key, values)
	case l.CT != nil && l.CT.Key == "state":
		return func(p Packet) truth { return anyOf(values, func(v value) truth { return v.hasText(p.State) }) }
	case l.Payload != nil:
		return comparePayload(l.Payload.Protocol, l.Payload.Field, values)
	}
	return unknown
}

func compareMeta(key string, values []value) condition {
	switch key {
	case "iif", "iifname":
		return func(p Packet) truth { return anyOf(values, func(v value) truth { return v.isLink(p.In) }) }
	case "oif", "oifname":
		return func(p Packet) truth { return anyOf(values, func(v value) truth { return v.isLink(p.Out) }) }
	case "l4proto":
		return func(p Packet) truth { return anyOf(values, func(v value) truth { return v.hasText(p.Protocol) }) }
	case "nfproto":
		return func(Packet) truth { return anyOf(values, func(v value) truth { return v.hasText("ipv4") }) }
	case "protocol":
		return func(Packet) truth { return anyOf(values, func(v value) truth { return v.hasText("ip") }) }
	}
	return unknown
}

func comparePayload(protocol, field string, values []value) condition {
	port := func(pick func(Packet) uint16) condition {
		return func(p Packet) truth {
			if protocol != "th" && protocol != p.Protocol {
				return no
			}
			return anyOf(values, func(v value) truth { return v.hasNumber(uint64(pick(p))) })
		}
	}
	switch {
	case protocol == "ip" && field == "saddr":
		return func(p Packet) truth { return anyOf(values, func(v value) truth { return v.hasAddr(p.From) }) }
	case protocol == "ip" && field == "daddr":
		return func(p Packet) truth { return anyOf(values, func(v value) truth { return v.hasAddr(p.To) }) }
	case protocol == "ip" && field == "protocol":
		return func(p Packet) truth { return anyOf(values, func(v value) truth { return v.hasText(p.Protocol) }) }
	case protocol == "ip6" || protocol == "icmpv6":
		return func(Packet) truth { return no }
	case field == "dport":
		return port(func(p Packet) uint16 { return p.Port })
	case field == "sport":
		return port(func(p Packet) uint16 { return p.FromPort })
	}
	return unknown
}

// matchLink compares the name of an interface; a final * stands for anything.
func matchLink(pattern, name string) truth {
	if front, ok := strings.CutSuffix(pattern, "*"); ok {
		return is(name != "" && strings.HasPrefix(name, front))
	}
	return is(pattern == name)
}

func unknown(Packet) truth { return maybe }

func not(c condition) condition {
	return func(p Packet) truth { return yes - c(p) }
}

func is(b bool) truth {
	if b {
		return yes
	}
	return no
}

func anyOf(values []value, holds func(value) truth) truth {
	found := no
	for _, v := range values {
		found = max(found, holds(v))
	}
	return found
}

// value is one thing a packet is compared with.
type value struct {
	text        string
	prefix      netip.Prefix
	first, last netip.Addr
	low, high   uint64
	numeric     bool
	unreadable  bool
}

func (v value) hasText(text string) truth {
	if v.unreadable {
		return maybe
	}
	return is(v.text == text)
}

func (v value) isLink(name string) truth {
	if v.unreadable {
		return maybe
	}
	return matchLink(v.text, name)
}

func (v value) hasAddr(a netip.Addr) truth {
	switch {
	case v.unreadable || !a.IsValid():
		return maybe
	case v.prefix.IsValid():
		return is(v.prefix.Contains(a))
	case v.first.IsValid():
		return is(v.first.Compare(a) <= 0 && a.Compare(v.last) <= 0)
	}
	one, err := netip.ParseAddr(v.text)
	if err != nil {
		return maybe
	}
	return is(one == a)
}

func (v value) hasNumber(n uint64) truth {
	if v.unreadable || !v.numeric {
		return maybe
	}
	return is(v.low <= n && n <= v.high)
}

// readValues reads the right side of a comparison. ok is false when it cannot
// be known, as for a set with a name.
func readValues(raw json.RawMessage) (values []value, ok bool) {
	var list []json.RawMessage
	var set struct{ Set []json.RawMessage }
	switch {
	case json.Unmarshal(raw, &list) == nil:
	case json.Unmarshal(raw, &set) == nil && set.Set != nil:
		list = set.Set
	default:
		list = []json.RawMessage{raw}
	}
	for _, item := range list {
		v := readValue(item)
		if strings.HasPrefix(v.text, "@") {
			return nil, false
		}
		values = append(values, v)
	}
	return values, true
}

func readValue(raw json.RawMessage) value {
	var text string
	var number uint64
	var form struct {
		Prefix *struct {
			Addr string
			Len  int
		}
		Range []json.RawMessage
		Elem  *struct{ Val json.RawMessage }
	}
	switch {
	case json.Unmarshal(raw, &text) == nil:
		return value{text: text}
	case json.Unmarshal(raw, &number) == nil:
		return value{low: number, high: number, numeric: true}
	case json.Unmarshal(raw, &form) != nil:
	case form.Elem != nil:
		return readValue(form.Elem.Val)
	case form.Prefix != nil:
		if addr, err := netip.ParseAddr(form.Prefix.Addr); err == nil {
			if p, err := addr.Prefix(form.Prefix.Len); err == nil {
				return value{prefix: p}
			}
		}
	case len(form.Range) == 2:
		a, b := readValue(form.Range[0]), readValue(form.Range[1])
		if a.numeric && b.numeric {
			return value{low: a.low, high: b.high, numeric: true}
		}
		first, err1 := netip.ParseAddr(a.text)
		last, err2 := netip.ParseAddr(b.text)
		if err1 == nil && err2 == nil {
			return value{first: first, last: last}
		}
	}
	return value{unreadable: true}
}
