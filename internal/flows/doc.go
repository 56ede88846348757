// Package flows tells who talked to whom inside the private networks, and
// what was dropped: it gives the counters of the node's switch, which know
// addresses, the names of apps, process types and containers.
//
// # Guarantees
//
//   - An address is named after the container that had it when it was seen,
//     also for a while (Memory) after that container went away; later after
//     its app and process type. An address that nobody is known for is shown
//     as an address, never as its next owner.
//   - However many ask for flows or follow them, the switch's table of flows
//     is read at most four times in an interval. That of drops is read for
//     each question.
//   - Nothing is asked of the switch while nobody asks here.
//
// It imports platform, directory, and of privnet the types of counters. It
// keeps no counters of its own and writes nothing anywhere.
package flows
