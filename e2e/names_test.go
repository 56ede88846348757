package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/atollhq/atoll/e2e/rig"
)

// TestNames asks for private names in every form and way, from a container.
func TestNames(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	project := m.Project(t, "names")
	n := &names{service: m.App(t, project, "names-service"), bare: m.App(t, project, "names-bare"),
		stranger: m.App(t, m.Project(t, "names-elsewhere"), "names-stranger")}
	n.service.Deploy(t, rig.Probe(t, "1", rig.Types{"web": "", "api": "--private"}))
	n.service.Must(t, "scale", "api:3")
	n.bare.Must(t, "scale", "web:0")
	n.bare.Deploy(t, rig.Probe(t, "1", rig.Types{"web": "", "api": "--private"}))
	n.stranger.Must(t, "scale", "web:0")
	n.stranger.Deploy(t, rig.Probe(t, "1", rig.Types{"api": "--private"}))
	n.stranger.Must(t, "scale", "api:6") // addresses that the other network does not have
	n.web, n.api = n.service.Container(t, "web-1"), []rig.Container{}
	for i := 1; i <= 3; i++ {
		n.api = append(n.api, n.service.Container(t, fmt.Sprintf("api-%d", i)))
	}
	t.Run("forms", n.forms)
	t.Run("ways to ask", n.ways)
	t.Run("order", n.order)
	t.Run("other types", n.otherTypes)
	t.Run("no such name", n.missing)
	t.Run("reverse", n.reverse)
}

type names struct {
	service, bare, stranger rig.App
	web                     rig.Container
	api                     []rig.Container
}

const api = "api.names-service.internal."

// records are what a name answers that has these containers.
func records(containers ...rig.Container) (all []string) {
	for _, c := range containers {
		all = append(all, "5 A "+c.Atoll.PrivateIP)
	}
	return all
}

func (n *names) forms(t *testing.T) {
	forms := map[string][]string{
		"names-service.internal.":     records(n.web),
		"web.names-service.internal.": records(n.web),
		api:                           records(n.api...),
		"names-bare.internal.":        nil, // web is at 0
		"web.names-bare.internal.":    nil,
		"api.names-bare.internal.":    nil,
	}
	for i, c := range n.api {
		forms[fmt.Sprintf("%d.%s", i+1, api)] = records(c)
	}
	asked := 0
	for short, want := range forms {
		a := n.service
		if strings.HasSuffix(short, "names-bare.internal.") {
			a = n.bare
		}
		for _, name := range []string{short, strings.TrimSuffix(short, "."), strings.ToUpper(short), a.LongName(t, short)} {
			n.web.WantAnswer(t, name, "A", "NOERROR", want...)
			asked++
		}
	}
	rig.Report(t, "names: all forms", "%d names answered exactly, TTL 5, upper case, with and without final dot", asked)
}

func (n *names) ways(t *testing.T) {
	for _, way := range [][]string{{"+noedns"}, {"+edns=0", "+bufsize=512"}, {"+edns=0", "+bufsize=4096", "+dnssec"}, {"+tcp"}, {"+norecurse"}, {"+cookie"}} {
		out, err := n.web.Run(t, "dig", append(way, "+noall", "+answer", "+comments", api, "A")...)
		for _, r := range records(n.api...) {
			if addr := strings.Fields(r)[2]; err != nil || !strings.Contains(out, addr) {
				t.Errorf("dig %v lacks %s (%v):\n%s", way, addr, err, out)
			}
		}
	}
	rig.Report(t, "names: ways to ask", "the same answer by UDP with and without EDNS, by TCP, with cookies and DNSSEC's bit")
}

// order: each container comes first in its part of the answers.
func (n *names) order(t *testing.T) {
	const questions = 90 // one that is never first by chance: 1 in 10^15
	first := map[string]int{}
	for range questions {
		out, err := n.web.Run(t, "dig", "+short", api, "A")
		if err != nil {
			t.Fatal(err)
		}
		addr, _, _ := strings.Cut(out, "\n")
		first[addr]++
	}
	for _, c := range n.api {
		if first[c.Atoll.PrivateIP] == 0 {
			t.Errorf("%s is never the first: %v", c.Atoll.PrivateIP, first)
		}
	}
	rig.Report(t, "names: answers are shuffled", "of %d answers the three came first %v times", questions, counts(first))
}

func counts(of map[string]int) (all []int) {
	for _, n := range of {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// authority is an SOA record of dig: its TTL and the zone's negative TTL.
var authority = regexp.MustCompile(`(?m)^\S+\s+(\d)\s+IN\s+SOA\s+.*\s(\d)$`)

// wantEmpty: no data, and an SOA record that makes clients remember it for at
// most five seconds (one digit).
func (n *names) wantEmpty(t *testing.T, status, name, kind string) {
	t.Helper()
	out, err := n.web.Run(t, "dig", "+noall", "+comments", "+answer", "+authority", name, kind)
	soa := authority.FindStringSubmatch(out)
	if err != nil || !strings.Contains(out, "status: "+status+",") || !strings.Contains(out, "ANSWER: 0, AUTHORITY: 1,") ||
		soa == nil || soa[1] > "5" || soa[2] > "5" {
		t.Errorf("%s %s: want %s, no data and an SOA for at most 5 s (%v):\n%s", name, kind, status, err, out)
	}
}

func (n *names) otherTypes(t *testing.T) {
	kinds := []string{"AAAA", "MX", "TXT", "SRV", "CNAME", "NS", "HTTPS", "CAA", "TYPE65280"}
	for _, kind := range kinds {
		for _, name := range []string{api, "1." + api, "names-service.internal.", "names-bare.internal.", n.service.LongName(t, api)} {
			n.wantEmpty(t, "NOERROR", name, kind)
		}
	}
	n.wantEmpty(t, "NOERROR", "names-bare.internal.", "A")
	rig.Report(t, "names: other types of a name that exists", "no error, no data, negative TTL of at most 5 s, for %s", strings.Join(kinds, " "))
}

func (n *names) missing(t *testing.T) {
	all := []string{
		"nosuch.internal.", "nosuch.names-service.internal.", "4." + api, "0." + api, "01." + api, "x." + api, "1.1." + api,
		"1.names-service.internal.", "names-stranger.internal.", "api.names-stranger.internal.", "1.api.names-stranger.internal.",
		n.stranger.LongName(t, "api.names-stranger.internal."), n.stranger.LongName(t, "6.api.names-stranger.internal."),
	}
	for _, name := range all {
		for _, kind := range []string{"A", "AAAA", "TXT"} {
			n.wantEmpty(t, "NXDOMAIN", name, kind)
		}
	}
	rig.Report(t, "names: what does not exist", "NXDOMAIN, for at most 5 s, for %d names, those of another network among them", len(all))
}

func (n *names) reverse(t *testing.T) {
	own := append([]rig.Container{n.web}, n.api...)
	pointer := func(addr string) string {
		part := strings.Split(addr, ".")
		slices.Reverse(part)
		return strings.Join(part, ".") + ".in-addr.arpa."
	}
	taken := map[string]bool{}
	for _, c := range own {
		taken[c.Atoll.PrivateIP] = true
		kind, number, _ := strings.Cut(c.Label, "-")
		// The one with ids: a rename does not change it.
		n.web.WantAnswer(t, pointer(c.Atoll.PrivateIP), "PTR", "NOERROR", "5 PTR "+n.service.LongName(t, number+"."+kind+".names-service.internal."))
	}
	strange := 0
	for _, c := range n.stranger.Ps(t) {
		if !taken[c.Atoll.PrivateIP] {
			n.wantEmpty(t, "NXDOMAIN", pointer(c.Atoll.PrivateIP), "PTR")
			strange++
		}
	}
	if strange == 0 {
		t.Error("the other network has no address that this one lacks")
	}
	rig.Report(t, "names: reverse", "%d addresses have their container's numbered name, %d of another network have none", len(own), strange)
}
