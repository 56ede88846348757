// Package lab is a hermetic machine for tests, benchmarks and the demo: a
// server (the machine under test) and the internet it is connected to, as two
// network namespaces that are joined to each other and to nothing else.
//
//	server                                  internet
//	  uplink0 203.0.113.2/24  ── veth ──  server0 203.0.113.1/24
//	  default via 203.0.113.1             lo      198.51.100.10/32
//
// The internet answers DNS on 203.0.113.1:53 (and writes down every question)
// and HTTP on 198.51.100.10:80 (and tells the source address it saw). It is
// hostile: it sends what it has for private addresses to the server, as a
// neighbour on the same link could.
//
// The package imports none of ours. Only tests, benchmarks and cmd/atoll-lab
// import it, never the product.
//
// It guarantees:
//
//   - No link, route or rule is made in the machine's own network namespace,
//     and no packet of the laboratory can reach it.
//   - Mounts and control groups stay visible inside: programs run with
//     [Namespace.Command], not with `ip netns exec`, which hides them.
//   - Everything below [Lab.Dir], every control group below [Lab.CgroupParent]
//     and every process in a namespace of the lab is gone after [Lab.Close].
//     If the owner is killed before that, the next [New] or [CleanStale] of
//     any process does it.
//   - A lab whose owner lives is left alone. Only processes are killed that the
//     lab recorded, that are in its control groups, or whose network namespace
//     is bound below its folder.
//
// Forwarding (ip_forward) is off on the server: switching it on is the
// product's task. IPv6 is off on both sides.
package lab
