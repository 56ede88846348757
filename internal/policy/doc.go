// Package policy carries the policies of projects from the store to the
// node's switch: it turns rules about apps and process types into rules about
// the numbers that the switch knows them by.
//
// # Guarantees
//
//   - When SetMode, AddRule and RemoveRule return without error, the next
//     packet obeys.
//   - A change that is stored but not yet in the switch is told to whoever
//     made it (CodeUnavailable) and tried again until it is there. Until then
//     the switch goes on with the policies before it.
//   - What another hand changes in the switch's tables, the switch puts back
//     by itself when it is set again ([privnet.Switch.Set]).
//   - Rules with * hold for process types and apps that come later, from
//     their first packet: Group returns no key that the switch was not told of.
//   - No project takes more than platform.MaxPairs entries of the switch. Of a
//     policy that outgrew that, what concerns the groups that came last is left
//     out, and the policy and an event say so.
//
// It imports platform, store, and of privnet the types of a policy. It never
// decides about a packet itself.
package policy
