package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/oneoff"
)

// Pauses for clients of the original API. Such a client loses what arrives
// together with the answer to CONNECT, and may crash when the connection ends
// very soon after the first output.
const (
	attachPause = 200 * time.Millisecond
	endPause    = 300 * time.Millisecond
)

// peerCheck is how often a session looks whether its client is still there.
const peerCheck = time.Second

// connect serves CONNECT on the attach_url of a one-off, whose path is no
// authority: the mux does not know such requests.
func (a *API) connect(w http.ResponseWriter, r *http.Request) {
	id, found := strings.CutPrefix(r.URL.Path, attachPath)
	if !found || id == "" || strings.Contains(id, "/") {
		a.fail(w, r, noSuchPath(r))
		return
	}
	r.SetPathValue("id", id)
	a.run(route{method: http.MethodConnect, path: attachPath + "{id}", access: attached, handle: a.attach}, w, r)
}

// attach answers 200 and then is nothing but a pipe between the client and
// the process: no framing, in either direction.
func (a *API) attach(q *request) (response, error) {
	o, err := q.oneOff()
	if err != nil {
		return nil, err
	}
	client, err := a.OneOffs.Claim(q.Context(), o.ID)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			a.Log.Error("Cannot take over the connection of a one-off", "container", o.ID, "error", err)
			a.abandon(o.ID)
			return
		}
		s := &session{api: a, id: o.ID, conn: conn, from: buffered.Reader, client: client, touched: make(chan struct{})}
		s.serve()
	}, nil
}

// Private

// abandon ends a one-off that was claimed and cannot be served.
func (a *API) abandon(id string) {
	ctx, cancel := context.WithCancel(a.ctx)
	cancel() // the client is gone
	if _, err := a.OneOffs.Serve(ctx, id, strings.NewReader(""), io.Discard); err != nil {
		a.Log.Error("Cannot end a one-off that nobody is connected to", "container", id, "error", err)
	}
}

// session is the connection of one client with its one-off.
type session struct {
	api    *API
	id     string
	conn   net.Conn
	from   *bufio.Reader
	client oneoff.Attached

	// hangUp ends the one-off: its client is gone.
	hangUp context.CancelFunc
	// touched is closed by the first byte of the client.
	touched chan struct{}
	once    sync.Once
	// active and first are when a byte last went through and when the first
	// one went out, in Unix nanoseconds.
	active atomic.Int64
	first  atomic.Int64
}

func (s *session) serve() {
	defer s.conn.Close()
	ctx, cancel := context.WithCancel(s.api.ctx)
	defer cancel()
	s.hangUp = cancel
	s.touch(&s.active)
	// A hijacked connection may still have the deadlines of its request.
	_ = s.conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(s.conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		s.hangUp()
	}
	input, feed := io.Pipe()
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.read(feed)
	}()
	if !s.client.Swift {
		s.pause(ctx, attachPause)
	}
	go s.watch(ctx)
	go s.watchPeer(ctx)
	o, err := s.api.OneOffs.Serve(ctx, s.id, input, writerFunc(s.write))
	input.Close()
	// A client that does not read keeps the session for so long and no longer.
	_ = s.conn.SetDeadline(time.Now().Add(drainTime))
	switch {
	case err != nil:
		s.api.Log.Info("A one-off lost its connection", "container", s.id, "error", err)
	case o.Error != "" && !s.client.Swift:
		// What the process itself did not say, and the client does not ask for.
		fmt.Fprintf(writerFunc(s.write), "\r\n !     %s\r\n", o.Error)
	}
	s.end(read)
}

// read passes on what the client sends, until it sends no more. Without a
// terminal that is the end of the input; with one it means that the client is
// gone, because the input of a terminal ends with a Ctrl-D.
func (s *session) read(feed *io.PipeWriter) {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.from.Read(buf)
		if n > 0 {
			s.once.Do(func() { close(s.touched) })
			s.touch(&s.active)
			// After the end of the process there is nobody to take it.
			_, _ = feed.Write(buf[:n])
		}
		if err != nil {
			if !errors.Is(err, io.EOF) || s.client.Terminal {
				s.hangUp()
			}
			feed.CloseWithError(err)
			return
		}
	}
}

func (s *session) write(p []byte) (int, error) {
	s.touch(&s.active)
	if s.first.Load() == 0 {
		s.touch(&s.first)
	}
	n, err := s.conn.Write(p)
	if err != nil {
		s.hangUp()
	}
	return n, err
}

func (s *session) touch(t *atomic.Int64) { t.Store(time.Now().UnixNano()) }

// pause gives the client time, unless it shows that it is ready.
func (s *session) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.touched:
	case <-ctx.Done():
	}
}

// watch stops the one-off when nothing went through for too long.
func (s *session) watch(ctx context.Context) {
	for {
		left := time.Until(time.Unix(0, s.active.Load()).Add(s.api.Idle))
		if left <= 0 {
			err := s.api.OneOffs.Stop(context.WithoutCancel(ctx), s.id,
				fmt.Sprintf("it was stopped because nothing happened for %v; detached one-off containers have no such limit", s.api.Idle), true)
			if err != nil {
				s.api.Log.Error("Cannot stop an idle one-off", "container", s.id, "error", err)
			}
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// watchPeer notices a client that is gone although reading does not tell: it has
// ended the input before, or the process does not take what came. Its machine
// answers the keep-alive probes of the connection with a reset, then.
func (s *session) watchPeer(ctx context.Context) {
	ticker := time.NewTicker(peerCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if broken(s.conn) {
			s.hangUp()
			return
		}
	}
}

// broken reports whether a connection is over in both directions.
func broken(conn net.Conn) bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	over := false
	err = raw.Control(func(fd uintptr) {
		state := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(state, 0)
		over = err == nil && n > 0 && state[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
	})
	return over || err != nil
}

// end closes the connection so that all that was written arrives: as long as
// the client sends, a plain close would reset the connection.
func (s *session) end(read <-chan struct{}) {
	if first := s.first.Load(); first != 0 && !s.client.Swift {
		time.Sleep(time.Until(time.Unix(0, first).Add(endPause)))
	}
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	<-read
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
