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
//
// It imports platform, privnet and outside.
package sandbox
