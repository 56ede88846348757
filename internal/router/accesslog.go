package router

import (
	"net/http"
	"time"
)

// StatusClientGone stands in entries for a client that left before the
// answer began (RT-28).
const StatusClientGone = 499

// Entry is a request that is over, for router logs and metrics (RT-34,
// RT-35).
type Entry struct {
	At time.Time
	// AppID and AppName are empty when the host is unknown.
	AppID   string
	AppName string
	// Container is where the request went ("web-1"), "" when nowhere.
	Container string
	Method    string
	Host      string
	// Path includes the query.
	Path      string
	RequestID string
	// From is the address of the connection's other end.
	From     string
	Protocol string
	Status   int
	// Bytes is the size of the body that was sent to the client.
	Bytes     int64
	Duration  time.Duration
	Referer   string
	UserAgent string
	// Error says what went wrong, as in X-Scalingo-Error; "" when nothing
	// did.
	Error string
}

func (r *Router) log(ex *exchange, rec *recorder, req *http.Request) {
	if ex.target != nil {
		ex.target.release()
	}
	if ex.idled.Load() {
		ex.fault, ex.err = faultTimeout, errIdle
	}
	e := Entry{
		At: ex.started, Method: req.Method, Host: req.Host, Path: req.URL.RequestURI(),
		RequestID: ex.requestID, From: peerOf(req).String(), Protocol: req.Proto,
		Status: rec.status, Bytes: rec.bytes, Duration: time.Since(ex.started),
		Referer: req.Referer(), UserAgent: req.UserAgent(),
	}
	if ex.route != nil {
		e.AppID, e.AppName = ex.route.app.ID, ex.route.app.Name
	}
	if ex.target != nil {
		e.Container = ex.target.label
	}
	if ex.upgraded != nil {
		e.Bytes += ex.upgraded.received.Load()
	}
	if e.Status == 0 {
		e.Status = StatusClientGone
	}
	if ex.fault != nil {
		e.Error = ex.fault.code
	}
	if ex.err != nil {
		r.cfg.Log.Debug("A request failed", "app", e.AppName, "container", e.Container,
			"method", e.Method, "path", req.URL.Path, "request_id", e.RequestID, "status", e.Status, "error", ex.err)
	}
	if r.cfg.AccessLog != nil {
		r.cfg.AccessLog(e)
	}
}
