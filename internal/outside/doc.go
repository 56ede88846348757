// Package outside is the eth0 side of one node's containers: a bridge with
// 172.17.0.0/16, the way out by masquerade, and rules that let nobody in but
// the node's own edge, to declared ports. DESIGN.md says what each rule is
// for.
//
// # Guarantees
//
//   - Containers reach the outside and the node's resolver, and nothing else:
//     not each other, not the node's services, not private addresses by this
//     way, not the metadata address.
//   - New connections to a container come from the node only, to the
//     endpoint's PublicPort only.
//   - A container cannot use another's address: the resolver may trust the
//     source of a question.
//   - All of it is in the kernel and outlives the process.
//
// It imports nothing of ours.
package outside
