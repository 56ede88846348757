package resolver

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

const (
	headerSize = 12
	// maxName is the most octets of a name on the wire (RFC 1035, 3.1), and
	// maxLabels the most labels that fit, without the root.
	maxName   = 255
	maxLabels = 127
)

// question is what there is to know of a message that asks. It is read
// without the library, which needs a dozen allocations for it, and holds
// nothing that outlives the packet. One value can be parsed into again.
type question struct {
	// asked is the header and the question as they were sent, in the case
	// that was used: many clients compare it with the reply's.
	asked []byte
	// lower holds the name on the wire in lower case, which is how the index
	// spells names; see key.
	lower  [maxName]byte
	length int
	// starts are where labels begin in lower.
	starts [maxLabels]uint8
	labels int

	rrtype uint16
	class  uint16
	// edns is set when there is an OPT record, the rest is from it.
	edns     bool
	version  uint8
	dnssecOK bool
	udpSize  int
}

// key is the name, on the wire and in lower case.
func (q *question) key() []byte { return q.lower[:q.length] }

// last returns the name of the last n labels.
func (q *question) last(n int) []byte {
	return q.lower[q.starts[q.labels-n]:q.length]
}

// parse reads a message with exactly one question. It returns false for what
// is malformed anywhere in it, bytes behind the last record excepted.
func (q *question) parse(packet []byte) bool {
	count := func(i int) int { return int(binary.BigEndian.Uint16(packet[4+2*i:])) }
	if len(packet) < headerSize || count(0) != 1 {
		return false
	}
	at, ok := q.parseName(packet)
	if !ok || at+4 > len(packet) {
		return false
	}
	q.rrtype = binary.BigEndian.Uint16(packet[at:])
	q.class = binary.BigEndian.Uint16(packet[at+2:])
	at += 4
	q.asked = packet[:at]
	q.edns, q.version, q.dnssecOK, q.udpSize = false, 0, false, 0
	additional := count(1) + count(2)
	for i := range additional + count(3) {
		if at, ok = q.parseRecord(packet, at, i >= additional); !ok {
			return false
		}
	}
	return true
}

// parseName reads the name asked for, and returns where it ends. Pointers
// cannot be in it: there is no name before it to point at.
func (q *question) parseName(packet []byte) (at int, ok bool) {
	q.length, q.labels = 0, 0
	at = headerSize
	for at < len(packet) {
		size := int(packet[at])
		if size == 0 {
			at++
			break
		}
		if size > 63 || at+1+size >= len(packet) || at+1+size-headerSize >= maxName {
			return at, false
		}
		q.starts[q.labels] = uint8(at - headerSize)
		q.labels++
		at += 1 + size
	}
	q.length = at - headerSize
	// Sizes of labels are below 'A', so they pass unchanged.
	for i, c := range packet[headerSize:at] {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		q.lower[i] = c
	}
	return at, q.length > 0
}

// parseRecord skips the record at at, and takes note of it if it is the OPT
// record of EDNS (RFC 6891), of which there is at most one, in the additional
// section.
func (q *question) parseRecord(packet []byte, at int, additional bool) (next int, ok bool) {
	begin := at
	if at, ok = skipName(packet, at); !ok || at+10 > len(packet) {
		return at, false
	}
	rrtype, class := binary.BigEndian.Uint16(packet[at:]), binary.BigEndian.Uint16(packet[at+2:])
	next = at + 10 + int(binary.BigEndian.Uint16(packet[at+8:]))
	if next > len(packet) {
		return next, false
	}
	if rrtype != dns.TypeOPT {
		return next, true
	}
	if q.edns || !additional || packet[begin] != 0 {
		return next, false
	}
	q.edns, q.udpSize = true, int(class)
	q.version, q.dnssecOK = packet[at+5], packet[at+6]&0x80 != 0
	return next, true
}

// skipName returns where the name at at ends; its pointers are not followed.
func skipName(packet []byte, at int) (next int, ok bool) {
	for at < len(packet) {
		switch size := packet[at]; {
		case size == 0:
			return at + 1, true
		case size >= 0xc0:
			return at + 2, at+2 <= len(packet)
		case size > 63:
			return at, false
		default:
			at += 1 + int(size)
		}
	}
	return at, false
}
