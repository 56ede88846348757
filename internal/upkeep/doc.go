// Package upkeep looks after the networks of a node: at every start and at
// intervals it lets them be compared with the containers there are, and keeps
// what came of it for people and programs to see.
//
// It decides nothing about networks: package sandbox does. It never stops
// containers, but for those that no app wants and whose removal an operator
// accepted.
//
// # Guarantees
//
//   - One look at a time. A look at a node in order changes nothing and logs
//     nothing.
//   - What is refused is logged and noted as an event once, not at every look,
//     and stands in the state as long as it lasts.
//   - An acceptance is used once, by the next look or start, and not after
//     [ConsentLife].
//
// It imports sandbox and outside, for the words of their reports.
package upkeep
