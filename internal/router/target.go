package router

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// connectTimeout bounds a connection attempt. A container on this
	// machine answers at once, if only by refusing; silence means that its
	// accept queue is full.
	connectTimeout = 5 * time.Second
	// keepIdle is how long an unused connection is kept. It has to be less
	// than what servers use themselves (gunicorn 2 s, Node.js and uvicorn
	// 5 s): a server that closes a connection just as a request is sent on
	// it costs that request.
	keepIdle = time.Second
	// The first probe of a container in quarantine is made at once, the
	// later ones after these pauses, doubling.
	firstProbe = 50 * time.Millisecond
	lastProbe  = 10 * time.Second
	// maxResponseHeaders is generous: it only bounds memory.
	maxResponseHeaders = 1 << 20
)

// targetKey identifies the process behind a target: one that was started
// again is another target, with no connections and no quarantine.
type targetKey struct {
	id      string
	addr    netip.Addr
	started int64
}

// target is a web container that is, or was, in service.
type target struct {
	label     string
	addr      netip.AddrPort
	queue     int64
	transport *http.Transport
	log       *slog.Logger

	// waiting counts requests whose answer has not begun.
	waiting     atomic.Int64
	quarantined atomic.Bool
	// gone ends when the container leaves service.
	gone  context.Context
	leave context.CancelFunc
}

func newTarget(label string, addr netip.AddrPort, limits Limits, log *slog.Logger) *target {
	t := &target{label: label, addr: addr, queue: int64(limits.Queue), log: log}
	t.gone, t.leave = context.WithCancel(context.Background())
	dialer := &net.Dialer{Timeout: connectTimeout}
	t.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countedConn{Conn: conn}, nil
		},
		// Answers pass as they are, compressed or not.
		DisableCompression:     true,
		MaxIdleConnsPerHost:    limits.Queue,
		IdleConnTimeout:        keepIdle,
		ResponseHeaderTimeout:  limits.FirstByte,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxResponseHeaders,
	}
	return t
}

// enqueue takes a place in the queue; false when it is full.
func (t *target) enqueue() bool {
	if t.waiting.Add(1) > t.queue {
		t.waiting.Add(-1)
		return false
	}
	return true
}

// answered gives the place back.
func (t *target) answered() { t.waiting.Add(-1) }

// roundTrip sends req and waits for the answer to begin. sent is false when
// not a byte of it has left.
func (t *target) roundTrip(req *http.Request) (res *http.Response, sent bool, err error) {
	var conn *countedConn
	var before int64
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if c, ok := info.Conn.(*countedConn); ok {
			conn, before = c, c.written.Load()
		}
	}}
	out := req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	url := *req.URL
	url.Scheme, url.Host = "http", t.addr.String()
	out.URL = &url
	switch {
	case out.Body != nil:
		out.Body = unclosed{out.Body}
	case replayable(out.Method):
		out.Body = unclosed{strings.NewReader("")}
	}
	res, err = t.transport.RoundTrip(out)
	return res, conn != nil && conn.written.Load() != before, err
}

// replayable reports whether http.Transport would send a request without
// body a second time by itself when a kept connection breaks. It does not
// with a body that it can't rewind, so these methods get an empty one; it
// looks into the body before sending and leaves it out.
func replayable(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// countedConn knows how many bytes were sent on it.
type countedConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// quarantine takes the container out of the round until a probe connects
// (RT-9).
func (t *target) quarantine(why error) {
	if t.gone.Err() != nil || !t.quarantined.CompareAndSwap(false, true) {
		return
	}
	t.log.Info("A container is in quarantine", "container", t.label, "address", t.addr, "error", why)
	go t.probe()
}

func (t *target) probe() {
	dialer := net.Dialer{Timeout: connectTimeout}
	for pause := firstProbe; ; pause = min(2*pause, lastProbe) {
		conn, err := dialer.DialContext(t.gone, "tcp", t.addr.String())
		if err == nil {
			conn.Close()
			t.log.Info("A container has left quarantine", "container", t.label, "address", t.addr)
			t.quarantined.Store(false)
			return
		}
		select {
		case <-t.gone.Done():
			return
		case <-time.After(pause):
		}
	}
}

// retire is called when the container leaves service. Requests that it has
// go on; connections are closed as they become idle.
func (t *target) retire() {
	t.leave()
	t.transport.CloseIdleConnections()
}

// release is called when a request that it had is over.
func (t *target) release() {
	if t.gone.Err() != nil {
		t.transport.CloseIdleConnections()
	}
}
