package resolver

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/internal/platform"
)

// ttl is short because the source of truth is in memory and local: what is
// cached downstream only delays clients noticing a change (PN-25). It is
// also how long a client may remember that a name does not exist.
const ttl = uint32(platform.NameTTL / 1e9)

// reply writes an answer to a question, into a buffer with room for limit
// bytes. Everything but a list of addresses is far smaller than the smallest
// limit.
type reply struct {
	q     *question
	buf   []byte
	limit int
	rcode int
}

const (
	flagsAt   = 2
	optSize   = 11
	addrSize  = 16 // an A record whose name is a pointer
	toName    = 0xc000 | headerSize
	authority = 0x04 // the AA bit, in the first byte of flags
	truncated = 0x02 // the TC bit, likewise
)

// begin copies the question into buf behind a header that says "answered,
// recursion available".
func begin(buf []byte, q *question, limit int) reply {
	buf = append(buf[:0], q.asked...)
	buf[flagsAt] = 0x80 | buf[flagsAt]&0x01     // RD as asked
	buf[flagsAt+1] = 0x80 | buf[flagsAt+1]&0x10 // CD as asked
	clear(buf[6:headerSize])
	return reply{q: q, buf: buf, limit: limit}
}

// count adds n records to section: 1 answer, 2 authority, 3 additional.
func (r *reply) count(section, n int) {
	binary.BigEndian.PutUint16(r.buf[4+2*section:], uint16(n))
}

// header writes all of a record but its data.
func (r *reply) header(name, rrtype uint16, size int) {
	b := binary.BigEndian.AppendUint16(r.buf, name)
	b = binary.BigEndian.AppendUint16(b, rrtype)
	b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
	b = binary.BigEndian.AppendUint32(b, ttl)
	r.buf = binary.BigEndian.AppendUint16(b, uint16(size))
}

// addresses writes A records in a random order: clients that take the first
// one spread over all. When not all fit, the reply says so (TC) and holds a
// random choice, for clients that don't ask again by TCP.
func (r *reply) addresses(addrs [][4]byte) {
	room := r.limit - len(r.buf)
	if r.q.edns {
		room -= optSize
	}
	n := len(addrs)
	if room < n*addrSize {
		n = room / addrSize
		r.buf[flagsAt] |= truncated
	}
	first := len(r.buf)
	for range n {
		r.buf = append(r.buf, addrRecord...)
	}
	data := func(i int) []byte { return r.buf[first+(i+1)*addrSize-4:][:4] }
	// An inside-out shuffle, as addrs belongs to everybody. Of more addresses
	// than fit, each has the same chance to stay.
	for i, a := range addrs {
		j := int(rand.Uint32N(uint32(i + 1)))
		if i < n {
			copy(data(i), data(j))
		}
		if j < n {
			copy(data(j), a[:])
		}
	}
	r.count(1, n)
}

// pointer answers with the owner of an address.
func (r *reply) pointer(owner string) {
	r.header(toName, dns.TypePTR, len(owner))
	r.buf = append(r.buf, owner...)
	r.count(1, 1)
}

// soa writes the SOA record of the zone made of the last labels of the name
// asked for. In section 2 it says for how long a negative answer may be
// remembered.
func (r *reply) soa(section, labels int) {
	apex := uint16(toName) + uint16(r.q.starts[r.q.labels-labels])
	r.header(apex, dns.TypeSOA, len(soaData))
	r.buf = append(r.buf, soaData...)
	r.count(section, 1)
}

// negative says that there is no such name (NXDOMAIN) or no such data
// (success) in a zone.
func (r *reply) negative(rcode, apexLabels int) {
	r.rcode = rcode
	r.soa(2, apexLabels)
}

// finish adds the answer to EDNS and returns the message.
func (r *reply) finish() []byte {
	if r.q.edns {
		r.buf = append(r.buf, 0, 0, byte(dns.TypeOPT), maxUDP>>8, maxUDP&0xff, byte(r.rcode>>4), 0, 0, 0, 0, 0)
		if r.q.dnssecOK {
			r.buf[len(r.buf)-4] = 0x80
		}
		r.count(3, 1)
	}
	r.buf[flagsAt+1] |= byte(r.rcode & 0xf)
	return r.buf
}

// addrRecord is an A record without its address.
var addrRecord = func() []byte {
	r := reply{}
	r.header(toName, dns.TypeA, 4)
	return append(r.buf, 0, 0, 0, 0)
}()

// soaData is the same for all zones: their server, whom to write to, a
// serial number that means nothing as there are no transfers, and times.
var soaData = func() []byte {
	server, _ := wireName("ns." + platform.PrivateZone)
	mailbox, _ := wireName("hostmaster." + platform.PrivateZone)
	b := append([]byte(server), mailbox...)
	for _, v := range []uint32{1, ttl, ttl, ttl, ttl} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}()
