// Package doctor examines a machine: whether it can run Atoll, what on it is
// in Atoll's way, and whether what runs is well. Each check says in a sentence
// what it found, or what is wrong and what to do.
//
// The checks of this package know the operating system and nothing of Atoll's
// own parts; internal/server adds those that need one, and says which checks a
// start needs. Of ours it imports namespace and doctor/firewall.
//
// Guarantees:
//
//   - No check changes the machine. What has to be tried is tried in
//     namespaces that end with it.
//   - Packets go to the upstream resolvers and to nobody else.
//   - Every check ends within the limit of its context.
package doctor
