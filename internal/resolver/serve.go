package resolver

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// streamIdle is how long a TCP connection may be silent.
	streamIdle = 10 * time.Second
	// streamBuffer is how much the kernel keeps of a TCP connection in each
	// direction (it takes twice as much memory): many questions, or the largest
	// answer. By itself it would keep megabytes of what asks too much.
	streamBuffer = 64 << 10
	// streamForwards is how many questions of a TCP connection may wait for an
	// upstream, or to be answered, before no more is read.
	streamForwards = 16
)

// socket is one served address: UDP and TCP on the same port.
type socket struct {
	addr netip.AddrPort
	udp  *net.UDPConn
	tcp  *net.TCPListener
}

// openSocket listens on addr. TCP comes first: SO_REUSEADDR, which lets a
// successor take over at once, would let a second server share the UDP port
// unnoticed, but not the TCP port.
func openSocket(addr netip.AddrPort) (*socket, error) {
	lc := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) (err error) {
		ctlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			if err == nil && network == "tcp4" {
				// What it accepts inherits both.
				err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, streamBuffer),
					unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, streamBuffer))
			}
		})
		return errors.Join(ctlErr, err)
	}}
	fail := func(err error) (*socket, error) {
		return nil, fmt.Errorf("cannot serve names on %s: %w (another DNS server there? stop it, or give Atoll another outside network)", addr, err)
	}
	l, err := lc.Listen(context.Background(), "tcp4", addr.String())
	if err != nil {
		return fail(err)
	}
	s := &socket{tcp: l.(*net.TCPListener)}
	s.addr = netip.AddrPortFrom(addr.Addr(), uint16(l.Addr().(*net.TCPAddr).Port))
	p, err := lc.ListenPacket(context.Background(), "udp4", s.addr.String())
	if err != nil {
		s.close()
		return fail(err)
	}
	s.udp = p.(*net.UDPConn)
	raw, err := s.udp.SyscallConn()
	if err == nil {
		err = enlarge(raw)
	}
	if err != nil {
		s.close()
		return fail(err)
	}
	return s, nil
}

func (s *socket) close() {
	s.tcp.Close()
	if s.udp != nil {
		s.udp.Close()
	}
}

// serve starts the readers of a socket in wg. A socket that fails for good
// is reported to stop.
func (r *Resolver) serve(ctx context.Context, wg *sync.WaitGroup, s *socket, stop context.CancelCauseFunc) {
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			if err := r.serveUDP(ctx, wg, s.udp); err != nil && ctx.Err() == nil {
				stop(fmt.Errorf("cannot go on serving names on %s (udp): %w", s.addr, err))
			}
		})
	}
	wg.Go(func() {
		if err := r.serveTCP(ctx, wg, s.tcp); err != nil && ctx.Err() == nil {
			stop(fmt.Errorf("cannot go on serving names on %s (tcp): %w", s.addr, err))
		}
	})
}

// Sizes of what a reader of UDP takes from and gives to the kernel at once.
const (
	batchSize = 32
	// maxQuestion is the largest question; what is longer is malformed.
	maxQuestion = 2048
)

// serveUDP answers private names in the reader itself and leaves waiting for
// upstreams to goroutines. Questions that queue up are read together and
// answered together; a single one waits for no other.
func (r *Resolver) serveUDP(ctx context.Context, wg *sync.WaitGroup, conn *net.UDPConn) error {
	h := &handler{Resolver: r}
	batches := ipv4.NewPacketConn(conn)
	questions, replies := newBatch(maxQuestion), newBatch(maxUDP)
	for {
		n, err := batches.ReadBatch(questions, 0)
		if err != nil {
			// Errors of earlier answers (a port that is closed by now) show
			// up here and are no reason to stop.
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			r.log.Warn("Cannot read DNS questions", "error", err)
			if !pause(ctx) {
				return nil
			}
			continue
		}
		answered := 0
		for i := range questions[:n] {
			m, out := &questions[i], &replies[answered]
			from := m.Addr.(*net.UDPAddr).AddrPort()
			reply, forward := h.handle(m.Buffers[0][:m.N], from.Addr().Unmap(), out.Buffers[0][:0])
			switch {
			case forward != nil:
				wg.Go(func() { r.sendLater(ctx, conn, forward, from) })
			case reply != nil:
				out.Buffers[0], out.Addr = reply, m.Addr
				answered++
			}
		}
		r.send(ctx, batches, replies[:answered])
	}
}

func newBatch(size int) []ipv4.Message {
	batch := make([]ipv4.Message, batchSize)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, size)}
	}
	return batch
}

// send hands over all replies but those that the kernel refuses.
func (r *Resolver) send(ctx context.Context, conn *ipv4.PacketConn, replies []ipv4.Message) {
	for len(replies) > 0 {
		n, err := conn.WriteBatch(replies, 0)
		if err != nil {
			if ctx.Err() == nil {
				r.log.Debug("Cannot send a DNS answer", "to", replies[0].Addr, "error", err)
			}
			n = 1
		}
		replies = replies[n:]
	}
}

// sendLater sends what an upstream says.
func (r *Resolver) sendLater(ctx context.Context, conn *net.UDPConn, forward func(context.Context) []byte, to netip.AddrPort) {
	reply := forward(ctx)
	if reply == nil {
		return
	}
	if _, err := conn.WriteToUDPAddrPort(reply, to); err != nil && ctx.Err() == nil {
		r.log.Debug("Cannot send a DNS answer", "to", to, "error", err)
	}
}

func (r *Resolver) serveTCP(ctx context.Context, wg *sync.WaitGroup, l *net.TCPListener) error {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			r.log.Warn("Cannot accept a DNS connection", "error", err)
			if !pause(ctx) {
				return nil
			}
			continue
		}
		source := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !r.streams.enter(source) {
			conn.Close()
			continue
		}
		wg.Go(func() {
			defer r.streams.leave(source)
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			r.serveStream(ctx, conn, source)
		})
	}
}

// serveStream answers the questions of one connection until it is silent or
// breaks off, and no faster than its asker may ask. Who waits for an upstream
// keeps nothing waiting that comes behind it (RFC 7766, 6.2.1.1).
func (r *Resolver) serveStream(ctx context.Context, conn *net.TCPConn, source netip.Addr) {
	h := &handler{Resolver: r, tcp: true}
	out := &streamWriter{conn: conn}
	places := make(chan struct{}, streamForwards)
	var forwards sync.WaitGroup
	defer forwards.Wait()
	in := bufio.NewReader(conn) // many send size and question apart, or many questions at once
	for {
		packet, err := readQuestion(conn, in)
		if err != nil {
			return
		}
		if wait := r.pace.next(source, time.Now()); wait > 0 {
			time.Sleep(wait)
		}
		reply, forward := h.handle(packet, source, nil)
		if forward == nil {
			if !out.write(reply) {
				return
			}
			continue
		}
		places <- struct{}{}
		forwards.Go(func() {
			defer func() { <-places }()
			out.write(forward(ctx))
		})
	}
}

// readQuestion waits for the next question of a connection.
func readQuestion(conn *net.TCPConn, in io.Reader) ([]byte, error) {
	if err := conn.SetReadDeadline(time.Now().Add(streamIdle)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > maxQuestion {
		return nil, fmt.Errorf("a question has %d bytes", n)
	}
	packet := make([]byte, n)
	_, err := io.ReadFull(in, packet)
	return packet, err
}

// streamWriter writes the answers of one connection, one at a time.
type streamWriter struct {
	mu   sync.Mutex
	conn *net.TCPConn
}

// write sends an answer. Without one, or when it cannot be sent, it ends the
// connection and returns false.
func (w *streamWriter) write(reply []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if reply != nil && w.conn.SetWriteDeadline(time.Now().Add(streamIdle)) == nil {
		if _, err := w.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err == nil {
			return true
		}
	}
	w.conn.Close()
	return false
}

// pause keeps a socket that fails all the time from taking a whole CPU. It
// returns false when ctx ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}
