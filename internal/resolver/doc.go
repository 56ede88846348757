// Package resolver answers the DNS questions of containers: the names of
// their own private network from the roster and the directory, and everything
// else by asking the host's resolvers.
//
// Guarantees:
//
//   - Who asks decides the answer. The asker is the container that owns the
//     source address on eth0; it sees the names of its own network and of no
//     other, as if no other existed. A source that belongs to no container
//     (builds) sees no private name at all.
//   - Nothing under internal., and no reverse name of a private range, is
//     ever sent to another resolver, whatever is broken.
//   - Private names need nothing but this process: they are answered while
//     every upstream is down.
//   - A question that arrives after a change of the roster is answered from
//     the changed roster. Otherwise questions take no lock.
//   - What one container asks, by flood or by asking for names whose servers
//     are slow, takes no answer from the others: the kernel drops its UDP
//     questions beyond an agreed rate before they queue with the others' (see
//     guard), its questions by TCP wait for their turn (see pace), and it has
//     only its share of the questions and connections that may wait (see
//     limiter). What was dropped, refused or delayed is counted.
//   - Outside names get SERVFAIL after 2 s at the latest.
//   - A container's own numbered name is always its own address, so that it
//     can bind to it from its first instruction on, also while its
//     predecessor with the same number still serves.
//
// It never caches outside names, never keeps a truth of its own, and never
// writes to the roster. It imports platform, roster, directory and, for what
// goes upstream and comes from there, miekg/dns.
package resolver
