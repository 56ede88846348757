package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A DNS question of a wanted size, and as much of the answer as says that it
// was one. Which servers the root has is what every resolver knows, and says
// nothing about who asks.

const (
	dnsHeader = 12
	// Header, name and type of the question, and an OPT record with an empty
	// padding option (RFC 6891, RFC 7830).
	minQuestion = dnsHeader + 5 + 11 + 4
	headersIPv4 = 28 // of IPv4 and UDP
)

// answerCodes are the codes a resolver refuses with.
var answerCodes = map[int]string{1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}

// question is a DNS message of size bytes, at least minQuestion.
func question(id uint16, size int) []byte {
	b := make([]byte, 0, size)
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(b, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1) // recursion desired; a question, a record beside it
	b = append(b, 0, 0, 2, 0, 1)                      // . NS IN
	padding := size - minQuestion
	b = append(b, 0, 0, 41)                    // OPT
	b = binary.BigEndian.AppendUint16(b, 1232) // what we take in one piece
	b = append(b, 0, 0, 0, 0)                  // no extended code, version 0
	b = binary.BigEndian.AppendUint16(b, uint16(4+padding))
	b = append(b, 0, 12) // padding
	b = binary.BigEndian.AppendUint16(b, uint16(padding))
	return append(b, make([]byte, padding)...)
}

// readCode reads the code of an answer; ok is false for anything else.
func readCode(b []byte, id uint16) (code int, ok bool) {
	if len(b) < dnsHeader || binary.BigEndian.Uint16(b) != id || b[2]&0x80 == 0 {
		return 0, false
	}
	return int(b[3] & 0x0f), true
}

// errTooBig: the packet did not fit into the path, as somebody on it said.
var errTooBig = errors.New("the packet is too big for the path")

// ask sends a question of size bytes that must not be fragmented, and returns
// the answer's code and how long it took.
func ask(ctx context.Context, to netip.AddrPort, size int) (code int, took time.Duration, err error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			if to.Addr().Is4() {
				// Probe: the size we say, whatever the kernel remembers of the path.
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
			}
		})
		return errors.Join(err, set)
	}}
	conn, err := d.DialContext(ctx, "udp", to.String())
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, 0, err
		}
	}
	id := uint16(rand.Uint32())
	began := time.Now()
	if _, err := conn.Write(question(id, size)); errors.Is(err, unix.EMSGSIZE) {
		return 0, 0, errTooBig
	} else if err != nil {
		return 0, 0, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, unix.EMSGSIZE) {
			return 0, 0, errTooBig
		}
		if err != nil {
			return 0, 0, err
		}
		if code, ok := readCode(buf[:n], id); ok {
			return code, time.Since(began), nil
		}
	}
}

// askTimes asks up to times times, patience each, for packets get lost.
func askTimes(ctx context.Context, to netip.AddrPort, size, times int, patience time.Duration) (code int, took time.Duration, err error) {
	for range times {
		limited, cancel := context.WithTimeout(ctx, patience)
		code, took, err = ask(limited, to, size)
		cancel()
		if err == nil || ctx.Err() != nil || errors.Is(err, errTooBig) {
			break
		}
	}
	return code, took, err
}

// trouble says in words why no answer came.
func trouble(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "does not answer"
	case errors.Is(err, unix.ECONNREFUSED):
		return "refuses questions: no resolver runs there"
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return "cannot be reached: there is no route or nobody there"
	}
	return fmt.Sprintf("cannot be asked (%v)", err)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
