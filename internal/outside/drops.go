package outside

import (
	"context"
	"encoding/json"
	"fmt"
)

// Drop reasons, the names of the counters.
const (
	// DropSpoofed: an IP or ARP packet that is not from its port's container.
	DropSpoofed = "spoofed"
	// DropProtocol: neither IPv4 nor ARP (IPv6, VLAN tags, …).
	DropProtocol = "protocol"
	// DropBypass: an IP or ARP packet that went around the bridge, by a
	// link-local group address.
	DropBypass = "bypass"
	// DropGroup: a broadcast or multicast frame that is no ARP.
	DropGroup = "group"
	// DropOptions: with IP options, such as a source route.
	DropOptions = "options"
	// DropPrivate: to an address of a private network, or to a private range
	// that is not allowed.
	DropPrivate = "private"
	// DropNeighbour: to another container, or to no MAC but the gateway's.
	DropNeighbour = "neighbour"
	// DropMetadata: to a cloud's metadata service, such as 169.254.169.254, or
	// to another link-local address.
	DropMetadata = "metadata"
	// DropInbound: a new connection from outside to a container, or anything
	// from outside to or with an address of the containers' range.
	DropInbound = "inbound"
	// DropNode: to a service of the node.
	DropNode = "node"
	// DropOutput: from the node to a container's port that is not public.
	DropOutput = "output"
	// DropInvalid: of no connection that could be, such as an answer to
	// nothing.
	DropInvalid = "invalid"
	// DropConnections: one more connection than a container may have open.
	DropConnections = "connections"
	// DropQuestions: more DNS questions than a container may ask in a second.
	DropQuestions = "questions"
)

// Drops returns how many packets were dropped since the rules were first
// installed, by reason.
func (n *Network) Drops(ctx context.Context) (map[string]uint64, error) {
	drops := map[string]uint64{}
	for _, family := range families {
		out, err := n.nftOutput(ctx, "-j", "list", "counters", "table", family, table)
		if err != nil {
			return nil, fmt.Errorf("cannot read the firewall's counters: %w", err)
		}
		var answer struct {
			Nftables []struct {
				Counter *struct {
					Name    string
					Packets uint64
				}
			}
		}
		if err := json.Unmarshal(out, &answer); err != nil {
			return nil, fmt.Errorf("cannot read the firewall's counters: %w", err)
		}
		for _, item := range answer.Nftables {
			if item.Counter != nil {
				drops[item.Counter.Name] += item.Counter.Packets
			}
		}
	}
	return drops, nil
}
