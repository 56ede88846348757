// Package sandbox makes a container's network namespace with both
// interfaces, and remembers which container has which addresses.
//
// # Guarantees
//
//   - A container keeps its addresses as long as its sandbox exists, over
//     restarts of its process and of the server.
//   - Each step is written down before it is taken: after a kill -9 at any
//     point, Restore finds whatever was made and completes or removes it.
//   - A Setup that fails leaves nothing behind.
//   - Repair brings back whatever is missing or damaged in the kernel and on
//     disk, and removes what no container has, but never the networks of most
//     containers that run. What is in order it does not touch.
//   - One damaged note, namespace or endpoint concerns its container only.
//
// DESIGN.md says how it decides what may be removed.
//
// It imports platform, namespace, privnet and outside.
package sandbox
