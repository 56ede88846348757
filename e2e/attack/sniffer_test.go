package attack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// sniffer is a packet socket that looks at all that comes in at an interface.
type sniffer struct {
	who  string // "neighbour pn0"
	file *os.File
	done chan struct{} // closed when nobody reads any more

	mu    sync.Mutex
	marks map[string]int
	calls map[call]int
	lost  int
}

// call is what a packet without a mark is known by: those that the kernel
// makes have none.
type call struct {
	from, to netip.Addr
	protocol uint8
	port     uint16 // the receiver's, of TCP and UDP
}

// A mark is in every crafted frame: the word and so many random characters.
const (
	markWord   = "mark:"
	markLength = len(markWord) + 12
)

// maxCalls is how many different calls a sniffer remembers, beyond what any
// attack but a flood makes.
const maxCalls = 100_000

// sniff opens a sniffer, which ends with the test. A namespace may have none
// of that name; then the test ends.
func sniff(t testing.TB, who, path, link string) *sniffer {
	t.Helper()
	s := &sniffer{who: who + " " + link, marks: map[string]int{}, calls: map[call]int{}}
	inside(t, path, func() error {
		i, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		s.file = os.NewFile(uintptr(fd), s.who)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 128<<20); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index})
	})
	s.done = make(chan struct{})
	go func() { s.read(); close(s.done) }()
	t.Cleanup(s.close)
	return s
}

// close stops looking; again is fine.
func (s *sniffer) close() {
	s.file.Close()
	<-s.done
}

func (s *sniffer) read() {
	frame := make([]byte, 65536)
	for {
		n, err := s.file.Read(frame)
		if err != nil {
			return
		}
		s.look(frame[:n])
	}
}

func (s *sniffer) look(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := bytes.Index(frame, []byte(markWord)); at >= 0 && at+markLength <= len(frame) && !unreachable(frame) {
		s.marks[string(frame[at:at+markLength])]++
	}
	if c, ok := callOf(frame); ok && (len(s.calls) < maxCalls || s.calls[c] > 0) {
		s.calls[c]++
	}
}

// unreachable reports whether a frame is a kernel's "nobody listens", which
// repeats the packet that it is about.
func unreachable(frame []byte) bool {
	return len(frame) > 34 && binary.BigEndian.Uint16(frame[12:]) == typeIPv4 && frame[14] == 0x45 && frame[23] == unix.IPPROTO_ICMP && frame[34] == 3
}

func callOf(frame []byte) (c call, ok bool) {
	if len(frame) < 34 || binary.BigEndian.Uint16(frame[12:]) != typeIPv4 {
		return c, false
	}
	ip := frame[14:]
	c.from, c.to, c.protocol = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), ip[9]
	if header := int(ip[0]&0xf) * 4; (c.protocol == unix.IPPROTO_TCP || c.protocol == unix.IPPROTO_UDP) && len(ip) >= header+4 {
		c.port = binary.BigEndian.Uint16(ip[header+2:])
	}
	return c, true
}

// saw is how many frames with a mark came in.
func (s *sniffer) saw(mark string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marks[mark]
}

// calledBy is how many packets came in that match.
func (s *sniffer) calledBy(match func(call) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, times := range s.calls {
		if match(c) {
			n += times
		}
	}
	return n
}

// forget begins anew, with calls only.
func (s *sniffer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.calls)
}

// wantNothingLost checks that all was looked at: what does not fit into the
// socket would be missed.
func (s *sniffer) wantNothingLost(t testing.TB) {
	t.Helper()
	raw, err := s.file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	ctlErr := raw.Control(func(fd uintptr) {
		var stats *unix.TpacketStats
		if stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			s.lost += int(stats.Drops)
		}
	})
	if ctlErr != nil || err != nil {
		t.Fatalf("cannot ask what %s missed: %v", s.who, fmt.Errorf("%w %w", ctlErr, err))
	}
	if s.lost > 0 {
		t.Errorf("%s missed %d frames", s.who, s.lost)
	}
}
