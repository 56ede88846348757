package router

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

const (
	shopID   = "ap-1"
	shopHost = "shop-app.example.org"
)

// edge is a router with its public side and the tables it looks at.
type edge struct {
	t         *testing.T
	roster    *roster.Roster
	directory *directory.Directory
	router    *Router
	url       string
	port      uint16
	stop      context.CancelFunc
	stopped   chan error

	mu      sync.Mutex
	entries []Entry
}

// newEdge starts a router for the app shop, whose containers all have the
// same port on addresses of their own: 127.0.0.2, 127.0.0.3, ...
func newEdge(t *testing.T, changes ...func(*Config)) *edge {
	t.Helper()
	e := &edge{t: t, roster: roster.New(), directory: directory.New(), port: freePort(t), stopped: make(chan error, 1)}
	e.directory.Put(directory.App{ID: shopID, Name: "shop-app", Types: []string{"web"}, Hosts: []string{shopHost}, Deployed: true})
	cfg := Config{
		Roster: e.roster, Directory: e.directory, Port: e.port,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		AccessLog: func(entry Entry) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.entries = append(e.entries, entry)
		},
	}
	for _, c := range changes {
		c(&cfg)
	}
	var err error
	if e.router, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.url = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	go func() { e.stopped <- e.router.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-e.stopped; err != nil {
			t.Errorf("Serve: %v", err)
		}
		e.stopped <- nil
		e.router.Close()
	})
	return e
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// instance is web container n, with the address 127.0.0.<n+1>.
func instance(n int) platform.Instance {
	return platform.Instance{
		ID: fmt.Sprint("web", n), AppID: shopID, AppName: "shop-app", Type: "web", Kind: platform.KindApp, Number: n,
		Active: true, State: platform.InstanceRunning, StartedAt: time.Unix(1000, 0),
		OutsideAddr: netip.AddrFrom4([4]byte{127, 0, 0, byte(n + 1)}),
		Observation: platform.Observation{Ready: true},
	}
}

// listen opens the port of container n.
func (e *edge) listen(n int) net.Listener {
	e.t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(instance(n).OutsideAddr, e.port).String())
	if err != nil {
		e.t.Fatal(err)
	}
	return l
}

// web puts container n into service with h as its program.
func (e *edge) web(n int, h http.HandlerFunc, changes ...func(*http.Server)) *httptest.Server {
	e.t.Helper()
	srv := &httptest.Server{Listener: e.listen(n), Config: &http.Server{Handler: h,
		ErrorLog: slog.NewLogLogger(slog.NewTextHandler(e.t.Output(), nil), slog.LevelInfo)}}
	for _, c := range changes {
		c(srv.Config)
	}
	srv.Start()
	e.t.Cleanup(srv.Close)
	e.roster.Put(instance(n))
	return srv
}

// raw puts container n into service; serve gets each connection.
func (e *edge) raw(n int, serve func(net.Conn)) net.Listener {
	e.t.Helper()
	l := e.listen(n)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	e.t.Cleanup(func() { l.Close(); wg.Wait() })
	e.roster.Put(instance(n))
	return l
}

// answers is a program that says its name.
func answers(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }
}

func (e *edge) request(method, path string, body io.Reader) *http.Request {
	e.t.Helper()
	req, err := http.NewRequest(method, e.url+path, body)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Host = shopHost
	return req
}

// do sends a request and reads the whole answer.
func (e *edge) do(req *http.Request) (*http.Response, string) {
	e.t.Helper()
	res, err := client.Do(req)
	if err != nil {
		e.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		e.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return res, string(body)
}

func (e *edge) get(path string) (*http.Response, string) {
	e.t.Helper()
	return e.do(e.request(http.MethodGet, path, nil))
}

var client = &http.Client{Transport: &http.Transport{DisableCompression: true}}

// log waits for n entries of the access log.
func (e *edge) log(n int) []Entry {
	e.t.Helper()
	var entries []Entry
	eventually(e.t, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		entries = e.entries
		return len(entries) >= n
	}, "%d entries in the access log", n)
	return entries
}

func eventually(t *testing.T, ok func() bool, format string, args ...any) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for "+format, args...)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func wantFault(t *testing.T, res *http.Response, body string, f *fault) {
	t.Helper()
	if res.StatusCode != f.status || res.Header.Get("X-Scalingo-Error") != f.code || !strings.Contains(body, f.title) {
		t.Fatalf("got %d %q %q, want %d %q %q", res.StatusCode, res.Header.Get("X-Scalingo-Error"), body, f.status, f.code, f.title)
	}
}
