package flows

import (
	"net/netip"

	"github.com/atollhq/atoll/internal/privnet"
)

// conversation tells flows apart.
type conversation struct {
	network  uint32
	from, to netip.Addr
	// An address may have changed hands.
	fromGroup, toGroup uint32

	protocol uint8
	port     uint16
	verdict  privnet.Verdict
}

func conversationOf(f privnet.Flow) conversation {
	return conversation{f.Network, f.From, f.To, f.FromGroup, f.ToGroup, f.Protocol, f.Port, f.Verdict}
}

func counted(flows []privnet.Flow) map[conversation]privnet.Flow {
	out := make(map[conversation]privnet.Flow, len(flows))
	for _, f := range flows {
		out[conversationOf(f)] = f
	}
	return out
}

// since returns the flows that had traffic after before was counted, with
// what they had since. A counter that went back belongs to a conversation
// that the switch had forgotten in between: all of it is new.
func since(flows []privnet.Flow, before map[conversation]privnet.Flow) (changed []privnet.Flow) {
	for _, f := range flows {
		old := before[conversationOf(f)]
		if f.Packets < old.Packets || f.ReplyPackets < old.ReplyPackets || f.Bytes < old.Bytes || f.ReplyBytes < old.ReplyBytes {
			old = privnet.Flow{}
		}
		f.Packets -= old.Packets
		f.Bytes -= old.Bytes
		f.ReplyPackets -= old.ReplyPackets
		f.ReplyBytes -= old.ReplyBytes
		if f.Packets > 0 || f.ReplyPackets > 0 {
			changed = append(changed, f)
		}
	}
	return changed
}
