package platform

import (
	"fmt"
	"strconv"
	"strings"
)

// Protocol is an IP protocol number; AnyProtocol means every one.
type Protocol uint8

// The protocols that have names.
const (
	AnyProtocol Protocol = 0
	ICMP        Protocol = 1
	TCP         Protocol = 6
	UDP         Protocol = 17
)

// String returns "tcp", "udp", "icmp", "*", or the number.
func (p Protocol) String() string {
	switch p {
	case AnyProtocol:
		return "*"
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return strconv.Itoa(int(p))
}

// Service is what a container offers to others: a port of a protocol.
type Service struct {
	Protocol Protocol
	// Port is 0 for every port, and always for protocols without ports.
	Port uint16
}

func (s Service) covers(other Service) bool {
	return (s.Protocol == AnyProtocol || s.Protocol == other.Protocol) && (s.Port == 0 || s.Port == other.Port)
}

// Known reports whether the service of a flow says which one it was. Without
// a protocol it stands for many that were counted together, as in a scan of
// ports; TCP and UDP without a port are packets that did not show theirs, such
// as later fragments.
func (s Service) Known() bool {
	return s.Protocol != AnyProtocol && (s.Port != 0 || s.Protocol != TCP && s.Protocol != UDP)
}

// Nameable reports whether a rule can be about the service of a flow and
// nothing else: rules know no protocols but those with names.
func (s Service) Nameable() bool {
	return s.Known() && (s.Protocol == TCP || s.Protocol == UDP || s.Protocol == ICMP)
}

// String returns "3000/tcp", "*/udp", "icmp", or "*" for everything.
func (s Service) String() string {
	switch {
	case s.Protocol == AnyProtocol && s.Port == 0:
		return "*"
	case s.Protocol != TCP && s.Protocol != UDP && s.Port == 0:
		return s.Protocol.String()
	case s.Port == 0:
		return "*/" + s.Protocol.String()
	}
	return fmt.Sprintf("%d/%s", s.Port, s.Protocol)
}

// ParseService reads "3000", "3000/tcp", "53/udp", "*/tcp", "icmp" or "*". A
// port without a protocol is a TCP port.
func ParseService(text string) (Service, error) {
	switch text {
	case "*":
		return Service{}, nil
	case "icmp":
		return Service{Protocol: ICMP}, nil
	}
	port, protocol, found := strings.Cut(text, "/")
	s := Service{Protocol: TCP}
	switch {
	case protocol == "udp":
		s.Protocol = UDP
	case found && protocol != "tcp":
		return Service{}, Invalid("rule", "port %q: the protocol must be tcp or udp, as in 3000/tcp (icmp stands alone)", text)
	}
	if port == "*" {
		return s, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
		return Service{}, Invalid("rule", "port %q: write a port from 1 to 65535, as in 3000/tcp or 53/udp, or *, */tcp, */udp or icmp", text)
	}
	s.Port = uint16(n)
	return s, nil
}
