package attack

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/atollhq/atoll/e2e/attack/order"
)

// deeds are the attacks by ordinary sockets.
func (s *siege) deeds(t *testing.T) {
	for _, list := range [][]deed{s.changes(), s.detours(), s.groups(), s.visits()} {
		for _, d := range list {
			s.commit(t, d)
		}
	}
}

func at(addr netip.Addr, port int) string { return fmt.Sprintf("%s:%d", addr, port) }

// send is a deed's datagram.
func send(d order.Datagram) func(string) order.Order {
	return func(mark string) order.Order {
		d := d
		d.Text, d.Wait, d.Times = mark, wait, 10
		return order.Order{Datagram: &d}
	}
}

// visit is a deed's connections.
func visit(targets ...string) func(string) order.Order {
	return func(mark string) order.Order {
		return order.Order{Connect: &order.Connect{Targets: targets, Text: mark, Wait: wait}}
	}
}

// changes are of the attacker's own interfaces.
func (s *siege) changes() []deed {
	a, n, f := s.attacker, s.neighbour, s.frontend
	return []deed{
		{name: "a neighbour's address added to pn0", before: []string{"addr add " + f.pn0.String() + "/32 dev pn0"}, after: []string{"addr del " + f.pn0.String() + "/32 dev pn0"},
			order: send(order.Datagram{Targets: []string{at(n.pn0, servicePort)}, From: f.pn0.String()}), reasons: []string{"pn0 spoofed-ip", "pn0 arp-forged"}},
		{name: "a neighbour's address added to eth0", before: []string{"addr add " + n.eth0.String() + "/16 dev eth0"}, after: []string{"addr del " + n.eth0.String() + "/16 dev eth0"},
			order: send(order.Datagram{Targets: []string{at(gateway, 53)}, From: n.eth0.String()}), reasons: []string{"eth0 spoofed"}},
		{name: "a neighbour's MAC set on pn0", before: []string{"link set pn0 address " + privateMAC(f.pn0).String()}, after: []string{"link set pn0 address " + privateMAC(a.pn0).String()},
			order: send(order.Datagram{Targets: []string{at(n.pn0, servicePort)}}), reasons: []string{"pn0 spoofed-mac"}},
		{name: "a neighbour's MAC set on eth0", before: []string{"link set eth0 address " + outsideMAC(n.eth0).String()}, after: []string{"link set eth0 address " + outsideMAC(a.eth0).String()},
			order: send(order.Datagram{Targets: []string{"198.51.100.10:9"}}), reasons: []string{"eth0 spoofed"}},
		{name: "a route to a private address by eth0", before: []string{"route add " + n.pn0.String() + "/32 via 172.17.0.1 dev eth0 src " + a.eth0.String()}, after: []string{"route del " + n.pn0.String() + "/32 via 172.17.0.1 dev eth0"},
			order: visit(at(n.pn0, servicePort)), reasons: []string{"eth0 private"}},
		{name: "a private address by a neighbour's MAC on eth0", before: []string{"route add " + n.pn0.String() + "/32 dev eth0 src " + a.eth0.String(), "neigh add " + n.pn0.String() + " lladdr " + outsideMAC(n.eth0).String() + " dev eth0"},
			after: []string{"neigh del " + n.pn0.String() + " dev eth0", "route del " + n.pn0.String() + "/32 dev eth0"},
			order: send(order.Datagram{Targets: []string{at(n.pn0, servicePort)}}), reasons: []string{"eth0 neighbour"}},
		{name: "a packet socket's spoofed source", privileged: true, reasons: []string{"pn0 spoofed-ip"}, order: func(mark string) order.Order {
			return order.Order{Packet: &order.Packet{Packets: [][]byte{udp(f.pn0, n.pn0, servicePort, mark)}, Times: times}}
		}},
	}
}

// detours are ways that any socket may ask for.
func (s *siege) detours() []deed {
	a, n, f := s.attacker, s.neighbour, s.frontend
	return []deed{
		{name: "a private address, bound to eth0", order: send(order.Datagram{Targets: []string{at(n.pn0, servicePort)}, Link: "eth0"}), reasons: []string{"eth0 private"}},
		{name: "a private address, from that of eth0", order: send(order.Datagram{Targets: []string{at(n.pn0, servicePort)}, From: a.eth0.String()}), reasons: []string{"pn0 spoofed-ip"}},
		{name: "a source route to a neighbour by pn0", order: send(order.Datagram{Targets: []string{at(n.pn0, servicePort)}, Options: sourceRoute(f.pn0)}), reasons: []string{"pn0 ip-options"}},
		{name: "a source route by the gateway to the metadata address", order: send(order.Datagram{Targets: []string{"169.254.169.254:80"}, Options: sourceRoute(gateway)}), reasons: []string{"eth0 options"}},
		{name: "a source route by the gateway to a stranger", order: send(order.Datagram{Targets: []string{at(s.strangers[0].eth0, servicePort)}, Options: sourceRoute(gateway)}), reasons: []string{"eth0 options"}},
	}
}

func (s *siege) groups() (deeds []deed) {
	for _, g := range []struct{ link, name, target, reason string }{
		{"pn0", "broadcast", "255.255.255.255:3000", "pn0 broadcast"}, {"eth0", "broadcast", "255.255.255.255:3000", "eth0 group"},
		{"pn0", "multicast", "224.0.0.251:5353", "pn0 multicast"}, {"eth0", "multicast", "224.0.0.251:5353", "eth0 group"},
	} {
		deeds = append(deeds, deed{name: "a " + g.name + " by " + g.link, order: send(order.Datagram{Targets: []string{g.target}, Link: g.link}), reasons: []string{g.reason}})
	}
	for _, g := range []struct {
		link, reason string
		own          netip.Addr
	}{{"pn0", "pn0 broadcast", s.attacker.pn0}, {"eth0", "eth0 group", s.attacker.eth0}} {
		deeds = append(deeds, deed{name: "a DHCP offer by " + g.link, reasons: []string{g.reason},
			order: send(order.Datagram{Targets: []string{"255.255.255.255:68"}, Port: 67, Link: g.link, Head: dhcpMessage(g.own)})})
	}
	return deeds
}

// visits are connections to those who must not be reached.
func (s *siege) visits() []deed {
	var others []string
	for _, v := range s.victims() {
		others = append(others, at(v.eth0, servicePort), at(v.eth0, 8080))
	}
	node := []string{"203.0.113.2:7000", "172.17.0.1:7000", "203.0.113.2:22", "172.17.0.1:22", "203.0.113.2:443", "172.17.0.1:443", "172.17.0.1:5000", "172.17.0.1:8080"}
	overlay := []string{"172.17.0.1:4789", "172.17.0.1:6081", "203.0.113.2:51820"}
	return []deed{
		{name: "connections to other containers by eth0", order: visit(others...), reasons: []string{"eth0 neighbour"}},
		{name: "datagrams to other containers by eth0", order: send(order.Datagram{Targets: others}), reasons: []string{"eth0 neighbour"}},
		{name: "another network's address", order: send(order.Datagram{Targets: []string{at(s.strangers[2].pn0, 8080)}}), reasons: []string{"pn0 arp-unknown"}},
		{name: "connections to the node: API, SSH, others", order: visit(node...), reasons: []string{"eth0 node"}},
		{name: "overlay and WireGuard ports of the node", order: send(order.Datagram{Targets: overlay}), reasons: []string{"eth0 node"}},
		{name: "the metadata addresses", order: visit("169.254.169.254:80", "169.254.170.2:80", "168.63.129.16:80", "100.100.100.200:80"), reasons: []string{"eth0 metadata"}},
		{name: "the machine's own network", order: visit("10.1.2.3:80", "172.16.0.9:22", "172.31.255.254:80", "192.168.1.1:80", "100.64.0.1:80"), reasons: []string{"eth0 private"}},
	}
}
