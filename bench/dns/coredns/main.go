// Command coredns is CoreDNS with the few plugins the comparison needs, in a
// module of its own, so that nothing of Atoll depends on it.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/multisocket"
)

func main() {
	// Outermost first.
	dnsserver.Directives = []string{"multisocket", "bind", "loadbalance", "file"}
	coremain.Run()
}
