package outside

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rememberRules notes how nft lists what was just installed: it writes rules
// in other words than it reads them.
func (n *Network) rememberRules(ctx context.Context) error {
	installed := map[string][]string{}
	for _, family := range families {
		l, err := n.listTable(ctx, family)
		if err != nil {
			return err
		}
		installed[family] = l.items
	}
	n.installed = installed
	return nil
}

// compareRules compares our tables with what was installed, and their sets
// with the endpoints.
func (n *Network) compareRules(ctx context.Context, endpoints []Endpoint) (found []Finding, err error) {
	wanted := map[string]map[string]string{"ports": {}, "public": {}}
	for _, e := range endpoints {
		wanted["ports"][fmt.Sprintf("%s . %s . %s", hostEnd(e.ID), hardwareAddr(e.Addr), e.Addr)] = e.ID
		if e.PublicPort != 0 {
			wanted["public"][fmt.Sprintf("%s . %d", e.Addr, e.PublicPort)] = e.ID
		}
	}
	for _, family := range families {
		where := "nft table " + family + " " + table
		l, err := n.listTable(ctx, family)
		if err != nil {
			return found, err
		}
		if len(l.items) == 0 {
			found = append(found, Finding{Where: where, What: "the table is gone"})
			continue
		}
		if missing, more := difference(n.installed[family], l.items); missing+more > 0 {
			found = append(found, Finding{Where: where, What: fmt.Sprintf("%d of our rules, chains or sets are missing, %d are there that are not ours", missing, more)})
		}
		for set, elements := range l.elements {
			// The kernel fills the others: who sends how much.
			if ours, ok := wanted[set]; ok {
				found = append(found, compareSet(where+" set "+set, ours, elements)...)
			}
		}
	}
	return found, nil
}

func compareSet(where string, wanted map[string]string, have []string) (found []Finding) {
	wanted = maps.Clone(wanted)
	for _, element := range have {
		if _, ok := wanted[element]; !ok {
			found = append(found, Finding{Where: where, What: fmt.Sprintf("the element { %s } is no container's", element)})
		}
		delete(wanted, element)
	}
	for _, element := range slices.Sorted(maps.Keys(wanted)) {
		found = append(found, Finding{Endpoint: wanted[element], Where: where, What: fmt.Sprintf("the element { %s } is missing", element)})
	}
	return found
}

// listing is one of our tables as it is.
type listing struct {
	// items are rules, chains, sets and counters, without what changes by
	// itself.
	items []string
	// elements are those of the named sets.
	elements map[string][]string
}

// listTable lists a table; one that is gone has no items.
func (n *Network) listTable(ctx context.Context, family string) (l listing, err error) {
	out, err := n.nftOutput(ctx, "-j", "list", "table", family, table)
	if err != nil && strings.Contains(err.Error(), "No such file or directory") {
		return l, nil
	}
	if err != nil {
		return l, fmt.Errorf("cannot list the firewall rules: %w", err)
	}
	if l, err = readTable(out); err != nil {
		return l, fmt.Errorf("cannot read the list of the firewall rules: %w", err)
	}
	return l, nil
}

// readTable reads what `nft -j list table` prints.
func readTable(text []byte) (l listing, err error) {
	var answer struct{ Nftables []map[string]map[string]any }
	if err := json.Unmarshal(text, &answer); err != nil {
		return l, err
	}
	l.elements = map[string][]string{}
	for _, item := range answer.Nftables {
		if _, ok := item["metainfo"]; ok {
			continue
		}
		if set, ok := item["set"]; ok {
			name, _ := set["name"].(string)
			elements, _ := set["elem"].([]any)
			delete(set, "elem")
			l.elements[name] = []string{}
			for _, e := range elements {
				l.elements[name] = append(l.elements[name], elementText(e))
			}
		}
		forgetVolatile(item)
		line, err := json.Marshal(item)
		if err != nil {
			return l, err
		}
		l.items = append(l.items, string(line))
	}
	return l, nil
}

// elementText writes an element of a set as people do.
func elementText(e any) string {
	object, _ := e.(map[string]any)
	parts, ok := object["concat"].([]any)
	if !ok {
		return fmt.Sprint(e)
	}
	words := make([]string, 0, len(parts))
	for _, p := range parts {
		words = append(words, fmt.Sprint(p))
	}
	return strings.Join(words, " . ")
}

// forgetVolatile removes counts and the kernel's numbers of things.
func forgetVolatile(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range []string{"handle", "packets", "bytes"} {
			delete(v, name)
		}
		for _, inner := range v {
			forgetVolatile(inner)
		}
	case map[string]map[string]any:
		for _, inner := range v {
			forgetVolatile(inner)
		}
	case []any:
		for _, inner := range v {
			forgetVolatile(inner)
		}
	}
}

// difference counts what is only in a and only in b, as lists with repeats,
// and 1 for another order.
func difference(a, b []string) (onlyA, onlyB int) {
	if slices.Equal(a, b) {
		return 0, 0
	}
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, c := range count {
		onlyA += max(c, 0)
		onlyB += max(-c, 0)
	}
	if onlyA+onlyB == 0 {
		return 1, 1
	}
	return onlyA, onlyB
}
