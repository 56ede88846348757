// Package store keeps the desired table in SQLite: users, projects, apps,
// formations, variables, deployments, releases, workloads, operations,
// policies, what these refused, and events.
//
// # Guarantees
//
//   - One writer at a time; a state change and the event that tells of it are
//     one transaction, on disk (WAL, synchronous=FULL) before the method
//     returns.
//   - Methods return *platform.Error for whatever a user can mend; any other
//     error is a fault of the machine.
//   - A newer database than the program knows is refused, never altered.
//
// It imports platform only, and is used by control, deploy and the API's
// reads. It never talks to the engine.
package store
