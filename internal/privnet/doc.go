// Package privnet is the private network of one node: an eBPF switch that
// connects the containers of each network and nothing else, and the pool that
// hands out their addresses.
//
// Of our packages it imports namespace and its own program (privnet/bpf).
// Endpoints are named by the caller's ids, networks by the caller's numbers; what they
// stand for is not known here. DESIGN.md says why it is built this way.
//
// It guarantees:
//
//   - A frame reaches a container only if it comes from a member of the same
//     network, with the address and MAC that member was given. Everything else
//     is dropped and counted under a [Reason].
//   - The network does not depend on this process: tables are pinned, programs
//     are held by the interfaces. It goes on after kill -9, and [Open] takes it
//     over with no packet lost.
//   - Where a network has a policy that enforces, only what a rule allows opens
//     connections, answers pass, and a change takes effect with the next packet
//     ([Switch.SetPolicies]). Who talked to whom, and what was dropped, is
//     always counted, in memory that does not grow ([Switch.Flows],
//     [Switch.DropEntries]).
//   - [Switch.Set] makes the kernel hold exactly the endpoints it is given;
//     calling it again changes nothing. It puts back what another hand took
//     from the switch itself: pins, namespace, policies. [Switch.Compare] says
//     what it would do.
//
// It never touches an interface, route or rule of the namespace it runs in,
// never forwards to or from the outside, and never picks an address for an
// endpoint by itself.
package privnet
