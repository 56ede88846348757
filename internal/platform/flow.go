package platform

import (
	"fmt"
	"net/netip"
	"time"
)

// Flow is a conversation inside a private network, as the node's switch
// counted it: all connections of a client to one port of a server.
type Flow struct {
	// From opened it, To is the server.
	From, To Member
	// Service is the server's protocol and port.
	Service Service
	// Packets, Bytes went from client to server, the others back.
	Packets, Bytes           uint64
	ReplyPackets, ReplyBytes uint64
	Verdict                  Verdict
	LastSeen                 time.Time
}

// Drop counts what the node's switch refused to deliver for one reason.
type Drop struct {
	// From is who sent it, whatever its packets claimed; To is where it was
	// addressed to, without an address when there was none.
	From, To Member
	// Reason is the switch's word for it, such as "spoofed-ip".
	Reason   string
	Count    uint64
	LastSeen time.Time
}

// Member is an end of a Flow or Drop: a container, or an address that is none
// that is known.
type Member struct {
	Addr netip.Addr
	// AppID is "" when it is not known who had the address.
	AppID string
	App   string
	Type  string
	// Number is 0 when it is not known which container of the type it was.
	Number int
}

// String returns "app/type/number" (? for an unknown number), or the address of an unknown member, or
// "-" when there is not even that.
func (m Member) String() string {
	switch {
	case m.AppID != "" && m.Number == 0:
		return fmt.Sprintf("%s/%s/?", m.App, m.Type)
	case m.AppID != "":
		return fmt.Sprintf("%s/%s/%d", m.App, m.Type, m.Number)
	case m.Addr.IsValid():
		return m.Addr.String()
	}
	return "-"
}
