// Package attack tries to break out of a container, in every way that the
// network offers, and looks who notices.
//
// The attack program (e2e/attack/attacker) is deployed as an ordinary app and
// takes orders (e2e/attack/order). Each attack runs with what an app has, and
// again with CAP_NET_RAW and CAP_NET_ADMIN in the container's network
// namespace, because isolation must not depend on a capability that is
// missing. The victims are a neighbour in the same private network, a
// stranger with the same addresses in another one, the machine itself, and
// the internet behind it. Each has a packet socket on every interface that
// looks for the attack's mark.
//
// An attack is judged by three things: nobody saw its mark, every frame is
// counted under the reason it should be, and the twin noticed: two namespaces
// with the attacker's and the victims' addresses, joined by plain cables, in
// which the same order of the same program must arrive. A victim that does not
// see anything there would not see anything here either.
//
// Everything happens in a laboratory (internal/lab); the program refuses to
// start where there is no pn0. It needs root, and skips without.
//
//	make e2e                                         # with the other suites
//	go test -count=1 ./e2e/attack -run 'TestAttack/private' -v
package attack
