// Package firewall reads the machine's firewall, nftables and iptables, and
// says what it does to a packet: lets it pass, drops it, or cannot be told.
//
// It reads text that the firewall's own programs print, runs nothing, and
// imports nothing of ours.
//
// Guarantees:
//
//   - A packet is called dropped only when every way through the rules that it
//     may take ends so. A condition that this package does not know (a rate, a
//     mark, a geographical list) may be true or false.
//   - Input of any form gives a result or an error, and takes a bounded time:
//     chains that call each other in a circle are cut.
package firewall
