// Package flows tells who talked to whom inside the private networks, and
// what was dropped: it gives the counters of the node's switch, which know
// addresses, the names of apps, process types and containers. And it keeps, as
// Refusals, what policies refused: the switch forgets that under load.
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
//   - Nothing is asked of the switch while nobody asks here, and while every
//     policy is open.
//   - What a policy refused is in the store at most RefusalsConfig.Every after
//     it was seen, and stays there for platform.RefusalMemory; of more than
//     platform.MaxRefusals of a project the oldest go, first those of the two
//     process types that have the most.
//   - A refusal is listed as long as the policy says the same. Its count is
//     that of the switch, or less: what came while this process was down and
//     was pushed out is missing.
//
// It imports platform, directory, and of privnet the types of counters. Beside
// refusals it keeps nothing and writes nothing.
package flows
