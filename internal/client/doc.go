// Package client is the typed HTTP client of the Atoll API: one file per
// resource, one method per request, plus the live streams (deployments, logs
// and flows).
//
// It knows the wire format only: it may import nothing of ours but
// internal/platform, prints nothing, reads no configuration file and no
// environment variable, and never asks anybody anything. The command line
// (internal/cli) is built on it.
//
// What it guarantees:
//
//   - Every call ends: requests have a time limit (30 s unless configured),
//     streams and transfers end with their context.
//   - An answer that is not a success is an *Error with the status, the
//     resource and the fields the server named; a server that cannot be
//     reached is an *UnreachableError.
//   - The API token is sent to the exchange only. The short-lived JWT it is
//     exchanged for stays in memory, is renewed when less than five minutes
//     of it are left, and once more when the server refuses it.
//   - Redirects are not followed: they would turn a POST into a GET and could
//     carry credentials elsewhere.
//   - A Client may be used by several goroutines at once.
package client
