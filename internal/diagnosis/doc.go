// Package diagnosis finds out why a container does not reach something: it
// goes the way of the container's own connection step by step, tries it from
// inside the container's network, and says in one sentence what is wrong and
// what to do.
//
// The steps decide from what small interfaces tell them; diagnosis/inside is
// the real one, in network namespaces. It imports platform, directory and
// discovery.
//
// Guarantees:
//
//   - What was tried is what the container would do: the same resolver, the
//     same addresses, the same network namespace. A try that works outweighs
//     every suspicion.
//   - Nothing is told about apps that the asker cannot see: they do not exist,
//     as in names.
//   - It changes nothing, sends no payload, and ends within its limit of time.
package diagnosis
