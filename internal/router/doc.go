// Package router is the public way in: an HTTP reverse proxy from the hosts
// of an app to its web containers.
//
// The directory says which host is which app, the roster which containers
// are in service; the router keeps no truth of its own. Containers get
// HTTP/1.1 on their eth0 address and $PORT.
//
// Guarantees:
//
//   - A request that arrives after a change of the roster or the directory is
//     routed by the changed one. A container that leaves service gets no new
//     request; requests it already has go on to their end.
//   - Requests go round the available containers strictly in turn.
//   - A request of which a container has seen a single byte is never sent a
//     second time, whatever its method. One that could not be sent at all
//     (connection refused, a kept connection found closed) is tried once
//     more, on the next container: nothing can have happened twice.
//   - What a client says about itself in X-Forwarded-*, X-Real-IP, Forwarded
//     or spellings of them that some frameworks take for the same is
//     believed only from a trusted proxy.
//   - Every answer that the router makes itself carries X-Scalingo-Error.
//
// It imports platform, roster and directory. It never terminates containers,
// never writes to the roster, and never routes to anything but web.
package router
