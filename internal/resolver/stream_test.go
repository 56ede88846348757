package resolver

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/atollhq/atoll/internal/lab"
)

// stream is a client's TCP connection to a resolver.
type stream struct {
	t    testing.TB
	conn net.Conn
}

func dialStream(t testing.TB, res *Resolver, from string) stream {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", res.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return stream{t, conn}
}

// framed is questions as they are sent by TCP.
func framed(t testing.TB, questions ...*dns.Msg) []byte {
	t.Helper()
	var out []byte
	for _, m := range questions {
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(packet))), packet...)
	}
	return out
}

// readFrame reads one answer.
func readFrame(from io.Reader) (*dns.Msg, error) {
	var size [2]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(from, packet); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	return m, m.Unpack(packet)
}

func TestPace(t *testing.T) {
	p := newPace(1000, 10)
	a, b, now := addr("127.0.0.1"), addr("127.0.0.2"), time.Now()
	for i := range 11 {
		if wait := p.next(a, now); wait != 0 {
			t.Fatalf("question %d of a burst waits %v", i, wait)
		}
	}
	for i := range 3 {
		if got, want := p.next(a, now), time.Duration(i+1)*time.Millisecond; got != want {
			t.Errorf("question %d beyond the burst waits %v, want %v", i, got, want)
		}
	}
	if wait := p.next(b, now); wait != 0 {
		t.Errorf("another asker waits %v", wait)
	}
	if got := p.waited(); len(got) != 1 || got[a] != 3 {
		t.Errorf("waited: %v, want 3 of %s", got, a)
	}
	if wait := p.next(a, now.Add(time.Second)); wait != 0 {
		t.Errorf("after a second of silence a question waits %v", wait)
	}
	p.forget(now.Add(500 * time.Millisecond))
	if _, known := p.askers[a]; !known || len(p.askers) != 1 {
		t.Errorf("after forgetting %s there are %v", b, p.askers)
	}
}

// TestStreamFlood: one container asks on all the connections it may have as
// fast as it can. It gets what it may ask for and no more, however many
// connections it has; nothing is lost, and it is counted.
func TestStreamFlood(t *testing.T) {
	r, d := world()
	res := start(t, r, d)
	const streams, each = 8, 1000
	questions := bytes.Repeat(framed(t, message("shop-app.internal.", dns.TypeA)), each)
	var flood sync.WaitGroup
	var answered atomic.Int64
	began := time.Now()
	for range streams {
		s := dialStream(t, res, "127.0.0.12")
		flood.Go(func() {
			if _, err := s.conn.Write(questions); err != nil {
				t.Error(err)
			}
		})
		flood.Go(func() {
			for range each {
				if m, err := readFrame(s.conn); err != nil || len(m.Answer) != 2 {
					t.Errorf("an answer of the flood: %v, %v", m, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	lab.WaitFor(t, 20*time.Second, "the flood to be slowed down", func() (bool, error) {
		return res.Counters().Delayed[addr("127.0.0.12")] > 0, nil
	})
	for i := range 20 {
		s := dialStream(t, res, askWeb1)
		if _, err := s.conn.Write(framed(t, message("shop-app.internal.", dns.TypeA))); err != nil {
			t.Fatal(err)
		}
		if m, err := readFrame(s.conn); err != nil || len(m.Answer) != 2 {
			t.Fatalf("question %d of another container: %v, %v", i, m, err)
		}
	}
	flood.Wait()
	took := time.Since(began)
	t.Logf("%d questions on %d connections answered in %v", answered.Load(), streams, took)
	// What came within the burst was not waited for.
	if least := (streams*each - streamQuestionBurst - streams) * time.Second / streamQuestionRate; took < least {
		t.Errorf("%d questions were answered in %v, want at least %v", answered.Load(), took, least)
	}
	if c := res.Counters(); len(c.Delayed) != 1 {
		t.Errorf("delayed: %v, want those of the flood only", c.Delayed)
	}
}

// TestStreamHoldsLittle: what a container sends and does not let be answered
// is kept in its own socket, not in the resolver's.
func TestStreamHoldsLittle(t *testing.T) {
	r, d := world()
	res := start(t, r, d)
	s := dialStream(t, res, "127.0.0.12")
	if err := s.conn.(*net.TCPConn).SetWriteBuffer(streamBuffer); err != nil {
		t.Fatal(err)
	}
	questions := bytes.Repeat(framed(t, message("shop-app.internal.", dns.TypeA)), 1000)
	sent := 0
	for { // reads no answer, so that the resolver stops to read questions
		if err := s.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := s.conn.Write(questions)
		sent += n
		if err != nil {
			break
		}
	}
	t.Logf("%d bytes are on the way", sent)
	// Both sockets of both ends, of which the kernel doubles what was set.
	if limit := 1 << 20; sent > limit {
		t.Errorf("%d bytes are on the way, want at most %d", sent, limit)
	}
}

// slowly is an upstream that takes its time.
func slowly() dns.Handler {
	up := &recorder{}
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		time.Sleep(1200 * time.Millisecond)
		up.ServeDNS(w, q)
	})
}

// TestQuestionAtTheEndOfSilence: a question that comes just before its
// connection was silent for too long is answered, also if that takes longer.
func TestQuestionAtTheEndOfSilence(t *testing.T) {
	t.Parallel()
	r, d := world()
	s := dialStream(t, start(t, r, d, upstreamServer(t, slowly())), askWeb1)
	time.Sleep(streamIdle - time.Second)
	if _, err := s.conn.Write(framed(t, message("example.org.", dns.TypeA))); err != nil {
		t.Fatal(err)
	}
	if m, err := readFrame(s.conn); err != nil || len(m.Answer) != 1 {
		t.Errorf("%v, %v", m, err)
	}
}

// TestStreamAnswersOutOfOrder: who asks for slow names outside gets the
// private one, asked for last, first; and all of them when it stops to send.
func TestStreamAnswersOutOfOrder(t *testing.T) {
	t.Parallel()
	r, d := world()
	s := dialStream(t, start(t, r, d, upstreamServer(t, slowly())), askWeb1)
	questions := []*dns.Msg{message("shop-app.internal.", dns.TypeA)}
	for range streamForwards {
		questions = append([]*dns.Msg{message("example.org.", dns.TypeA)}, questions...)
	}
	if _, err := s.conn.Write(framed(t, questions...)); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	asked := map[uint16]bool{}
	for _, q := range questions {
		asked[q.Id] = true
	}
	for i := range questions {
		m, err := readFrame(s.conn)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if private := m.Question[0].Name == "shop-app.internal."; private != (i == 0) || !asked[m.Id] || m.Rcode != dns.RcodeSuccess {
			t.Errorf("answer %d is %v", i, m)
		}
		delete(asked, m.Id)
	}
}
