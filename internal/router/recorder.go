package router

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"
)

// recorder is the way back to the client: it remembers what was sent and
// drops clients that take nothing for the idle time.
type recorder struct {
	http.ResponseWriter
	rc       *http.ResponseController
	idle     time.Duration
	upgrades *sync.WaitGroup

	status   int
	bytes    int64
	hijacked bool
}

func newRecorder(w http.ResponseWriter, req *http.Request, idle time.Duration) *recorder {
	rec := &recorder{ResponseWriter: w, rc: http.NewResponseController(w), idle: idle}
	rec.upgrades, _ = req.Context().Value(upgradesKey{}).(*sync.WaitGroup)
	rec.extend()
	return rec
}

// extend gives the client another idle time to take what was written.
func (rec *recorder) extend() {
	// Fails only where there is no connection (tests with a recorder).
	_ = rec.rc.SetWriteDeadline(time.Now().Add(rec.idle))
}

func (rec *recorder) WriteHeader(status int) {
	if status >= 200 && rec.status == 0 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(p []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	rec.extend()
	n, err := rec.ResponseWriter.Write(p)
	rec.bytes += int64(n)
	return n, err
}

// Hijack hands over the connection for a protocol switch.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := rec.rc.Hijack()
	if err == nil {
		rec.hijacked = true
		rec.status = http.StatusSwitchingProtocols
		if rec.upgrades != nil {
			rec.upgrades.Add(1)
		}
	}
	return conn, rw, err
}

// finish ends the request.
func (rec *recorder) finish() {
	if rec.hijacked && rec.upgrades != nil {
		rec.upgrades.Done()
	}
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }
