package privnet

import (
	"context"
	"fmt"
)

// Reason says why the switch dropped a frame.
type Reason uint32

// The reasons, numbered as enum drop_reason in bpf/drop.h.
const (
	NoPort         Reason = iota // came in while its endpoint was being removed
	Truncated                    // headers missing, or lengths that lie
	VLAN                         // 802.1Q or 802.1ad tag
	SpoofedMAC                   // source MAC of another
	SpoofedIP                    // source address of another
	ARPForged                    // ARP in another's name, or any ARP reply
	ARPUnknown                   // ARP for an address nobody has
	ARPOwn                       // gratuitous ARP for the sender's own address
	IPv6                         // private networks are IPv4 only
	OtherEtherType               // neither IPv4 nor ARP
	Broadcast
	Multicast
	IPOptions          // source routes, record route, router alert
	UnknownDestination // nobody in the sender's network has the address
	WrongMAC           // the destination's address with another's MAC
	PolicyDenied       // no rule of the network's policy allows it
	OpeningPace        // a TCP connection too many in one second
	reasons
)

var reasonNames = [reasons]string{
	"no-port", "truncated", "vlan", "spoofed-mac", "spoofed-ip", "arp-forged",
	"arp-unknown", "arp-own", "ipv6", "other-ethertype", "broadcast", "multicast",
	"ip-options", "unknown-destination", "wrong-mac",
	"policy", "opening-pace",
}

// String returns the reason's name as users see it, such as "spoofed-ip".
func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason-%d", uint32(r))
}

// Reasons returns every reason there is, in order.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Drops returns how many frames were dropped for each reason since the switch
// was made. The counts survive restarts; a reason that never occurred is there
// with 0.
func (s *Switch) Drops(ctx context.Context) (map[Reason]uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	drops := make(map[Reason]uint64, reasons)
	for _, r := range Reasons() {
		var perCPU []uint64
		if err := s.maps.drops.Lookup(uint32(r), &perCPU); err != nil {
			return nil, fmt.Errorf("cannot read the drop counter %s: %w", r, err)
		}
		for _, n := range perCPU {
			drops[r] += n
		}
	}
	return drops, nil
}
