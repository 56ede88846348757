// Package outside is the eth0 side of one node's containers: a bridge with
// 172.17.0.0/16, the way out by masquerade, and rules that let nobody in but
// the node's own edge, to declared ports. DESIGN.md says what each rule is
// for.
//
// # Guarantees
//
//   - Containers reach the outside, the node's resolver and Config.Public:
//     not each other, not the node's services, not private addresses by this
//     way, not the metadata service.
//   - New connections to a container come from the node only, to the
//     endpoint's PublicPort only.
//   - Nobody beside the node reaches the gateway's address, or is taken for a
//     container.
//   - A container cannot use another's address: the resolver may trust the
//     source of a question.
//   - All of it is in the kernel and outlives the process; opening it again
//     interrupts nothing.
//
// It needs the program nft. It never changes rules, bridges or settings of
// others, but for net.ipv4.ip_forward, which it sets to 1. Of ours it imports
// namespace.
package outside
