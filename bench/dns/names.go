package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// The network of the comparison: apps with a type of three containers each.
const (
	apps       = 100
	containers = 3
	oursPort   = "5301"
	theirsPort = "5302"
)

type host struct {
	app    string
	number int
	addr   netip.Addr
}

func hosts() []host {
	var out []host
	addr := netip.MustParseAddr("10.240.0.1")
	for a := range apps {
		for n := range containers {
			out = append(out, host{fmt.Sprintf("app-%d", a+1), n + 1, addr})
			addr = addr.Next()
		}
	}
	return out
}

// fill enters the hosts as containers, and the client as the first.
func fill(r *roster.Roster) {
	started := time.Now()
	client := netip.MustParseAddr(lab.InternetAddr)
	for i, h := range hosts() {
		inst := platform.Instance{
			ID: fmt.Sprint(i), NetworkID: "pn-bench", AppID: "ap-" + h.app, AppName: h.app, Type: "api",
			Kind: platform.KindApp, Number: h.number, Active: true, State: platform.InstanceRunning, StartedAt: started, PrivateAddr: h.addr,
		}
		if i == 0 {
			inst.OutsideAddr = client
		}
		r.Put(inst)
		r.Observe(inst.ID, started, platform.Observation{Ready: true})
	}
}

// writeZone writes the same names as a zone for CoreDNS, with the answers in
// random order like ours, and nothing else switched on. One socket per CPU,
// which is its fastest.
func writeZone(dir string) (corefile string, err error) {
	var zone strings.Builder
	zone.WriteString("$ORIGIN internal.\n$TTL 5\n@ SOA ns hostmaster 1 5 5 5 5\n@ NS ns\nns A 10.240.0.1\n")
	for _, h := range hosts() {
		fmt.Fprintf(&zone, "api.%s A %s\n%d.api.%s A %s\n", h.app, h.addr, h.number, h.app, h.addr)
	}
	zonefile := filepath.Join(dir, "zone")
	if err := os.WriteFile(zonefile, []byte(zone.String()), 0o600); err != nil {
		return "", err
	}
	corefile = filepath.Join(dir, "Corefile")
	return corefile, os.WriteFile(corefile, []byte(fmt.Sprintf("internal.:%s {\n\tbind %s\n\tmultisocket\n\tloadbalance\n\tfile %s\n}\n", theirsPort, lab.ServerAddr, zonefile)), 0o600)
}

// questionLines are what dnsperf asks, again and again: a C library that
// connects by name asks for both kinds of addresses; now and then one
// container, now and then a name that is not there.
func questionLines() string {
	var b strings.Builder
	for i, h := range hosts() {
		fmt.Fprintf(&b, "api.%s.internal A\napi.%s.internal AAAA\n", h.app, h.app)
		if i%2 == 0 {
			fmt.Fprintf(&b, "%d.api.%s.internal A\n", h.number, h.app)
		}
		if i%5 == 0 {
			fmt.Fprintf(&b, "nobody-%d.internal A\n", i)
		}
	}
	return b.String()
}
