package router

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// Config is what a Router needs. Roster and Directory are required.
type Config struct {
	Roster    *roster.Roster
	Directory *directory.Directory
	// TrustedProxies may say who their clients are (X-Forwarded-*).
	TrustedProxies []netip.Prefix
	// AccessLog, when set, is called once for each request, after its end,
	// from the request's goroutine.
	AccessLog func(Entry)
	// Log defaults to slog.Default().
	Log *slog.Logger
	// Port is where web containers listen; 0 means platform.Port.
	Port uint16
	// Limits that are zero get the value of DefaultLimits.
	Limits Limits
}

// Limits are the bounds of what the router accepts and waits for.
type Limits struct {
	// Body is the largest request body in bytes (RT-4).
	Body int64
	// Headers is the size of all request headers, Header that of one, in
	// bytes (RT-5).
	Headers, Header int
	// FirstByte is how long a container may take to begin its answer once it
	// has the whole request; Idle how long any side may be silent after that
	// (RT-12).
	FirstByte, Idle time.Duration
	// Queue is how many requests may wait for the answer of one container to
	// begin (RT-10). Answers under way, and with them WebSockets, don't count.
	Queue int
	// Drain is how long Serve lets requests finish after its context ended.
	Drain time.Duration
}

// DefaultLimits are the documented ones.
var DefaultLimits = Limits{
	Body:      75 << 20,
	Headers:   32 << 10,
	Header:    8 << 10,
	FirstByte: 30 * time.Second,
	Idle:      60 * time.Second,
	Queue:     50,
	Drain:     30 * time.Second,
}

// Router is an http.Handler; it is safe for concurrent use.
type Router struct {
	cfg   Config
	proxy *httputil.ReverseProxy

	table   atomic.Pointer[table]
	rebuild sync.Mutex
	// targets and turns survive rebuilds of the table; rebuild guards them.
	targets map[targetKey]*target
	turns   map[string]*atomic.Uint64
	closed  bool
}

// New makes a router. Close it when it is no longer used.
func New(cfg Config) (*Router, error) {
	if cfg.Roster == nil || cfg.Directory == nil {
		return nil, errors.New("cannot start the router: it needs a roster and a directory")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Port == 0 {
		cfg.Port = platform.Port
	}
	cfg.Limits = cfg.Limits.withDefaults()
	r := &Router{cfg: cfg, targets: map[targetKey]*target{}, turns: map[string]*atomic.Uint64{}}
	r.proxy = &httputil.ReverseProxy{
		Rewrite:        r.rewrite,
		Transport:      r,
		ModifyResponse: r.watchResponse,
		ErrorHandler:   r.fail,
		// Server-sent events and other slow answers must not wait for a
		// buffer to fill.
		FlushInterval: -1,
		BufferPool:    newBuffers(),
		ErrorLog:      slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return r, nil
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits
	set(&l.Body, d.Body)
	set(&l.Headers, d.Headers)
	set(&l.Header, d.Header)
	set(&l.FirstByte, d.FirstByte)
	set(&l.Idle, d.Idle)
	set(&l.Queue, d.Queue)
	set(&l.Drain, d.Drain)
	return l
}

func set[T comparable](v *T, byDefault T) {
	var zero T
	if *v == zero {
		*v = byDefault
	}
}

// ServeHTTP routes one request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	ex := &exchange{
		started:   time.Now(),
		requestID: requestID(req.Header.Get("X-Request-Id")),
		cancel:    cancel,
	}
	rec := newRecorder(w, req, r.cfg.Limits.Idle)
	defer rec.finish()
	// Also when the proxy panics to cut a connection.
	defer func() { r.log(ex, rec, req) }()

	route, f := r.admit(req)
	if f == nil && len(route.targets) == 0 {
		f = route.unavailable()
	}
	if route != nil {
		ex.route = route
	}
	if f != nil {
		ex.fault = f
		f.write(rec, req, ex.requestID)
		return
	}
	req = req.WithContext(context.WithValue(ctx, exchangeKey{}, ex))
	if req.ContentLength != 0 {
		ex.body = newClientBody(w, req.Body, r.cfg.Limits)
		req.Body = ex.body
	}
	r.proxy.ServeHTTP(rec, req)
}

// admit finds the app of a request and refuses requests that break limits.
func (r *Router) admit(req *http.Request) (*route, *fault) {
	// Neither makes sense behind a proxy: a tunnel to a container would go
	// past everything the router does, and TRACE would show its headers.
	if req.Method == http.MethodConnect || req.Method == http.MethodTrace {
		return nil, faultMethod
	}
	if f := r.cfg.Limits.checkHeaders(req.Header); f != nil {
		return nil, f
	}
	route := r.current().hosts[hostName(req.Host)]
	if route == nil {
		return nil, faultUnknownHost
	}
	if req.ContentLength > r.cfg.Limits.Body {
		return route, faultTooLarge
	}
	return route, nil
}

// fail answers a request that could not be served; ReverseProxy calls it
// before anything was written.
func (r *Router) fail(w http.ResponseWriter, req *http.Request, err error) {
	ex := exchangeOf(req)
	ex.err = err
	ex.fault = faultOf(req.Context(), ex, err)
	if ex.fault == nil { // the client has left
		return
	}
	ex.fault.write(w, req, ex.requestID)
}

// Close stops probing containers and closes idle connections to them. Do it
// after the last Serve has returned; a closed router routes nothing.
func (r *Router) Close() {
	r.rebuild.Lock()
	defer r.rebuild.Unlock()
	r.closed = true
	for key, t := range r.targets {
		t.retire()
		delete(r.targets, key)
	}
	r.table.Store(&table{})
}
