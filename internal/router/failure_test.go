package router

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestRefusedConnectionGoesToTheNextContainer(t *testing.T) {
	e := newEdge(t)
	e.roster.Put(instance(1)) // in the roster, but nobody listens
	e.web(2, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	for range 6 {
		res, body := e.do(e.request(http.MethodPost, "/", strings.NewReader("hello")))
		if res.StatusCode != 200 || body != "hello" {
			t.Fatalf("got %d %q, want the body that was sent", res.StatusCode, body)
		}
	}
	if key := e.target(1); !key.quarantined.Load() {
		t.Error("the container that refuses is not in quarantine")
	}
	// It comes back by itself once it listens.
	e.web(1, answers("back"))
	eventually(t, func() bool { _, body := e.get("/"); return body == "back" }, "container 1 to leave quarantine")
}

// target is the router's view of container n.
func (e *edge) target(n int) *target {
	e.router.rebuild.Lock()
	defer e.router.rebuild.Unlock()
	for key, t := range e.router.targets {
		if key.id == instance(n).ID {
			return t
		}
	}
	e.t.Fatalf("no target %d", n)
	return nil
}

func TestAllContainersInQuarantine(t *testing.T) {
	e := newEdge(t)
	e.roster.Put(instance(1))
	e.roster.Put(instance(2))
	for range 4 {
		res, _ := e.get("/")
		if res.StatusCode != http.StatusBadGateway {
			t.Fatalf("got %d, want 502", res.StatusCode)
		}
	}
	res, body := e.get("/")
	wantFault(t, res, body, faultQuarantined)
}

// TestSentRequestsAreNeverRepeated has a container that answers the first
// request of a connection and cuts it at the second, where an ordinary HTTP
// client would silently send a GET again.
func TestSentRequestsAreNeverRepeated(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions, http.MethodDelete} {
		t.Run(method, func(t *testing.T) {
			e := newEdge(t)
			var requests atomic.Int32
			serve := func(conn net.Conn) {
				in := bufio.NewReader(conn)
				for first := true; ; first = false {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					requests.Add(1)
					if !first {
						return
					}
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}
			e.raw(1, serve)
			if res, _ := e.do(e.request(method, "/", nil)); res.StatusCode != 200 {
				t.Fatalf("first request: %d", res.StatusCode)
			}
			e.raw(2, serve)
			// The kept connection to container 1 may be tidied up before
			// it is used again: then its second request is a first one.
			eventually(t, func() bool {
				before := requests.Load()
				res, body := e.do(e.request(method, "/", nil))
				if n := requests.Load() - before; n != 1 {
					t.Fatalf("the request arrived %d times", n)
				}
				if res.StatusCode == 200 {
					return false
				}
				wantFault(t, res, body, faultCut)
				return true
			}, "a request to be cut")
		})
	}
}

func TestInvalidAnswerIsBadGateway(t *testing.T) {
	e := newEdge(t)
	e.raw(1, func(conn net.Conn) {
		http.ReadRequest(bufio.NewReader(conn))
		io.WriteString(conn, "SSH-2.0-nonsense\r\n")
	})
	res, body := e.get("/")
	wantFault(t, res, body, faultCut)
	if got := e.log(1)[0]; got.Status != 502 || got.Error != faultCut.code || got.Container != "web-1" {
		t.Errorf("entry %+v", got)
	}
}

func TestAnswerThatBreaksOffIsCutForTheClientToo(t *testing.T) {
	e := newEdge(t)
	e.raw(1, func(conn net.Conn) {
		http.ReadRequest(bufio.NewReader(conn))
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	})
	res, err := client.Do(e.request(http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) || string(body) != "half" {
		t.Errorf("got %q, %v; want a cut after \"half\"", body, err)
	}
	if got := e.log(1)[0]; got.Status != 200 || got.Error != faultCut.code {
		t.Errorf("entry %+v", got)
	}
}

func TestTimeouts(t *testing.T) {
	short := func(c *Config) { c.Limits.FirstByte, c.Limits.Idle = 500*time.Millisecond, 500*time.Millisecond }
	release := make(chan struct{})
	defer close(release)

	t.Run("first byte", func(t *testing.T) {
		e := newEdge(t, short)
		e.web(1, func(_ http.ResponseWriter, r *http.Request) { waitFor(r, release) })
		res, body := e.get("/")
		wantFault(t, res, body, faultTimeout)
		if e.target(1).quarantined.Load() {
			t.Error("a slow container is no broken one")
		}
	})
	t.Run("between bytes", func(t *testing.T) {
		e := newEdge(t, short)
		e.web(1, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "begun")
			http.NewResponseController(w).Flush()
			waitFor(r, release)
		})
		res, err := client.Do(e.request(http.MethodGet, "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err == nil || string(body) != "begun" {
			t.Errorf("got %q, %v; want a cut after \"begun\"", body, err)
		}
		if got := e.log(1)[0]; got.Error != faultTimeout.code {
			t.Errorf("entry %+v", got)
		}
	})
	t.Run("client sends no body", func(t *testing.T) {
		e := newEdge(t, short, func(c *Config) { c.Limits.FirstByte = time.Hour })
		e.web(1, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		body, w := io.Pipe()
		defer w.Close()
		go w.Write([]byte("begun"))
		res, text := e.do(e.request(http.MethodPost, "/", body))
		wantFault(t, res, text, faultSlowClient)
	})
}

// waitFor keeps a program from answering; it ends also with its request.
func waitFor(r *http.Request, release <-chan struct{}) {
	select {
	case <-release:
	case <-r.Context().Done():
	}
}

func TestLongAnswersWithinTheIdleTimePass(t *testing.T) {
	const idle = 500 * time.Millisecond
	e := newEdge(t, func(c *Config) { c.Limits.Idle = idle })
	e.web(1, func(w http.ResponseWriter, r *http.Request) {
		for range 6 {
			io.WriteString(w, "tick")
			http.NewResponseController(w).Flush()
			time.Sleep(idle / 4)
		}
	})
	if _, body := e.get("/"); body != strings.Repeat("tick", 6) {
		t.Errorf("got %q", body)
	}
}

func TestBodyLimit(t *testing.T) {
	e := newEdge(t, func(c *Config) { c.Limits.Body = 1000 })
	e.web(1, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Write(bytes.Repeat([]byte("x"), int(n)))
	})
	if _, body := e.do(e.request(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 1000)))); len(body) != 1000 {
		t.Errorf("a body of the limit: %d bytes arrived", len(body))
	}
	res, text := e.do(e.request(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 1001))))
	wantFault(t, res, text, faultTooLarge)
	chunked := io.MultiReader(strings.NewReader(strings.Repeat("x", 1001)))
	res, text = e.do(e.request(http.MethodPost, "/", chunked))
	wantFault(t, res, text, faultTooLarge)
	if DefaultLimits.Body >= 80e6 || DefaultLimits.Body < 75e6 {
		t.Errorf("the default limit is %d", DefaultLimits.Body)
	}
}

func TestQueueLimit(t *testing.T) {
	e := newEdge(t, func(c *Config) { c.Limits.Queue = 2 })
	release := make(chan struct{})
	started := make(chan struct{}, 8)
	slow := func(w http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		waitFor(r, release)
	}
	e.web(1, slow)
	e.web(2, slow)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if res, _ := e.get("/"); res.StatusCode != 200 {
				t.Errorf("a queued request got %d", res.StatusCode)
			}
		})
	}
	for range 4 {
		<-started
	}
	res, body := e.get("/")
	wantFault(t, res, body, faultQueueFull)
	close(release)
	wg.Wait()
	if res, _ := e.get("/"); res.StatusCode != 200 {
		t.Errorf("after the queue has emptied: %d", res.StatusCode)
	}
}

func TestAnswersUnderWayAreNotInTheQueue(t *testing.T) {
	e := newEdge(t, func(c *Config) { c.Limits.Queue = 1 })
	release := make(chan struct{})
	defer close(release)
	e.web(1, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		waitFor(r, release)
	})
	for range 5 {
		res, err := client.Do(e.request(http.MethodGet, "/events", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != 200 {
			t.Fatalf("stream: %d", res.StatusCode)
		}
	}
}

func TestClientThatLeavesIsLoggedAndHarmsNobody(t *testing.T) {
	e := newEdge(t)
	started := make(chan struct{})
	e.web(1, func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-started; cancel() }()
	if _, err := client.Do(e.request(http.MethodGet, "/", nil).WithContext(ctx)); err == nil {
		t.Fatal("an answer came")
	}
	if got := e.log(1)[0]; got.Status != StatusClientGone || got.Error != "" {
		t.Errorf("entry %+v", got)
	}
	if e.target(1).quarantined.Load() {
		t.Error("the container is in quarantine because a client left")
	}
}

func TestTunnelsAndTraceAreRefused(t *testing.T) {
	e := newEdge(t)
	e.web(1, answers("wrong"))
	res, body := e.do(e.request(http.MethodTrace, "/", nil))
	wantFault(t, res, body, faultMethod)
}
