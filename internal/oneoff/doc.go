// Package oneoff runs containers once: one-offs of users, hooks of
// deployments, scheduled tasks. It keeps their records in the store and tells
// the engine; the roster tells it how they end.
//
// It imports platform, store, engine's interfaces, and knows nothing of HTTP,
// of terminals or of how containers are made.
//
// # Guarantees
//
//   - A one-off is recorded, with its number, its operation and its event in
//     one transaction, before anything of it exists. It is started at most
//     once.
//   - Its end is recorded before its container is removed, so that an exit
//     code is not lost with this process. At the next start Recover ends what
//     cannot go on (attached ones, and ones the engine never got) and takes
//     up what still runs.
//   - Two runs of a scheduled task never overlap; a run is left out rather than
//     begun too late.
//   - Nothing runs past its deadline by more than the grace of a stop.
//   - Uploaded files are out of reach when the container is gone, and removed
//     soon after. However many they are, or how deep, nobody waits for that.
package oneoff
