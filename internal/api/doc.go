// Package api is the HTTP API: the one of Scalingo, so that its clients work
// unmodified, with authentication, the live streams of deployments and logs,
// and the private-network views. Which request does what, and who may ask,
// is one table in routes.go.
//
// # Guarantees
//
//   - Every error is JSON in the shape that clients of the original read; an
//     error whose text is not meant for users is logged under a request id
//     and shows as a plain 500.
//   - What belongs to another user does not exist: 404, never 403.
//   - Bodies are bounded, a slow or silent client holds no more than its own
//     connection, and Close ends all streams.
//   - Secrets (tokens, passwords, queries with tokens) never reach the log.
//
// It imports platform, the types of store and diagnosis, and its own auth. It reads through
// Store and Roster and changes things through Control only; it knows no SQL
// and no container.
package api
