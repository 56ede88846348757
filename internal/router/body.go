package router

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// clientBody is the body of a request on its way to a container: bounded in
// size and in the time between its bytes.
type clientBody struct {
	io.ReadCloser
	rc   *http.ResponseController
	idle time.Duration

	read atomic.Bool
	mu   sync.Mutex
	err  error
}

func newClientBody(w http.ResponseWriter, body io.ReadCloser, limits Limits) *clientBody {
	return &clientBody{
		ReadCloser: http.MaxBytesReader(w, body, limits.Body),
		rc:         http.NewResponseController(w),
		idle:       limits.Idle,
	}
}

func (b *clientBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	// A server that cannot set deadlines (tests with a recorder) has no
	// client that could stall.
	_ = b.rc.SetReadDeadline(time.Now().Add(b.idle))
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	// From here on the server watches the connection to notice the client
	// leaving; an old deadline would look like that.
	_ = b.rc.SetReadDeadline(time.Time{})
	if err != io.EOF {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

// touched reports whether some of the body may be gone. A nil body never is.
func (b *clientBody) touched() bool { return b != nil && b.read.Load() }

// failure is the error that reading from the client ended with.
func (b *clientBody) failure() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *clientBody) failed() bool { return b.failure() != nil }

var errIdle = errors.New("no byte came within the idle time")

// watchResponse puts the idle time on an answer, and notices when it breaks
// off.
func (r *Router) watchResponse(res *http.Response) error {
	ex := exchangeOf(res.Request)
	if conn, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		ex.upgraded = newUpgradedConn(conn, r.cfg.Limits.Idle, ex.idle)
		res.Body = ex.upgraded
		return nil
	}
	res.Body = &answerBody{
		ReadCloser: res.Body, ctx: res.Request.Context(), ex: ex, idle: r.cfg.Limits.Idle,
		timer: stoppedTimer(ex.idle),
	}
	return nil
}

// answerBody is the body of an answer on its way to the client.
type answerBody struct {
	io.ReadCloser
	ctx   context.Context
	ex    *exchange
	idle  time.Duration
	timer *time.Timer
}

// Read waits for the container no longer than the idle time; time that the
// client takes does not count.
func (b *answerBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF {
		b.ex.err = err
		if b.ctx.Err() == nil {
			b.ex.fault = faultCut
			b.ex.target.quarantine(err)
		}
	}
	return n, err
}

func (b *answerBody) Close() error {
	b.timer.Stop()
	return b.ReadCloser.Close()
}

// upgradedConn is the container's side of a connection that has switched
// protocols (WebSocket). It is closed when neither side sends anything for
// the idle time.
type upgradedConn struct {
	io.ReadWriteCloser
	idle  time.Duration
	timer *time.Timer
	// received counts bytes from the container.
	received atomic.Int64
}

func newUpgradedConn(conn io.ReadWriteCloser, idle time.Duration, silent func()) *upgradedConn {
	u := &upgradedConn{ReadWriteCloser: conn, idle: idle}
	u.timer = time.AfterFunc(idle, silent)
	return u
}

func (u *upgradedConn) Read(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Read(p)
	u.received.Add(int64(n))
	u.timer.Reset(u.idle)
	return n, err
}

func (u *upgradedConn) Write(p []byte) (int, error) {
	u.timer.Reset(u.idle)
	return u.ReadWriteCloser.Write(p)
}

// CloseWrite passes on that the client has nothing more to say.
func (u *upgradedConn) CloseWrite() error {
	if c, ok := u.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

func (u *upgradedConn) Close() error {
	u.timer.Stop()
	return u.ReadWriteCloser.Close()
}

// unclosed is a body that the transport cannot close: it does when it could
// not connect, and then the body is needed once more. The proxy closes it at
// the end of the request.
type unclosed struct{ io.Reader }

func (unclosed) Close() error { return nil }

func stoppedTimer(f func()) *time.Timer {
	t := time.AfterFunc(time.Hour, f)
	t.Stop()
	return t
}

// buffers are what bodies are copied through.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { return new([32 << 10]byte) }}}
}

func (b *buffers) Get() []byte  { return b.pool.Get().(*[32 << 10]byte)[:] }
func (b *buffers) Put(p []byte) { b.pool.Put((*[32 << 10]byte)(p)) }
