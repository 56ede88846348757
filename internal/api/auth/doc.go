// Package auth has the three mechanisms the API tells people apart with:
// password hashes, signed tokens, and the brake on failed logins.
//
// It imports nothing of ours, keeps no state but the brake's counters, and
// never logs a secret.
//
// # Guarantees
//
//   - A token made for one audience is worth nothing for another: the link of
//     an upload cannot be used as a session.
//   - Only HS256 with this installation's secret is accepted, with an expiry.
//   - The cost of a password check does not tell whether the user exists.
package auth
