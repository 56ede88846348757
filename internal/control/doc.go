// Package control is what users can ask for: it checks a request against the
// rules, writes the desired state to the store, and sets the reconciler or
// the pipeline going. The API calls it; it knows nothing of HTTP.
//
// # Guarantees
//
//   - A refused request changes nothing.
//   - Replacements (restart, new size) start the new containers first, wait
//     until they are ready, switch in one transaction, then stop the old
//     ones (CL-14). One that fails leaves the old ones as they were.
//   - After a kill -9, Recover brings every app back into a state in which
//     new requests are accepted.
package control
