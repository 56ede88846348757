// Package discovery observes containers from outside: which ports they
// listen on, and whether they are ready. What it finds it writes into the
// roster; names, routes and deployments follow from there.
//
// Nothing inside a container helps or is configured for it. Listening
// sockets are read from the kernel (sock_diag) through a netlink socket that
// was opened once in the container's network namespace.
//
// Guarantees:
//
//   - web and tcp are ready when their $PORT accepts a TCP connection from
//     this machine. Any other container is ready when it listens on its
//     private address or on all addresses, or has run for the settle time: a
//     longer one when a container of its type has listened before.
//   - A container that begins to drain is looked at once more, and the row says
//     when that was done.
//   - Ready stays true for the life of a process.
//   - An observation of one process is never written for its successor.
//   - A restart of the server makes nobody unready: what was seen of a process
//     is noted in a file, and recalled for the same process only; that it has
//     served, for its container.
//   - When a container is gone, so is everything held for it: goroutine,
//     descriptor, and with it the hold on its namespace.
//
// It never judges a container by what it answers, and never writes anything
// but Roster.Observe and its file. It imports platform, roster and namespace.
package discovery
