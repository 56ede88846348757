package router

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/atollhq/atoll/internal/platform"
)

func TestContainerThatLeavesFinishesWhatItHas(t *testing.T) {
	for _, how := range []string{"drains", "vanishes"} {
		t.Run(how, func(t *testing.T) {
			e := newEdge(t)
			started, release := make(chan struct{}), make(chan struct{})
			closed := make(chan struct{}, 16)
			e.web(1, func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "be")
				http.NewResponseController(w).Flush()
				close(started)
				<-release
				io.WriteString(w, "gun")
			}, func(s *http.Server) {
				s.ConnState = func(_ net.Conn, s http.ConnState) {
					if s == http.StateClosed {
						closed <- struct{}{}
					}
				}
			})
			result := make(chan string, 1)
			go func() {
				_, body := e.get("/")
				result <- body
			}()
			<-started
			e.web(2, answers("two"))
			if how == "drains" {
				inst := instance(1)
				inst.State = platform.InstanceDraining
				e.roster.Put(inst)
			} else {
				e.roster.Delete(instance(1).ID)
			}
			for range 10 {
				if _, body := e.get("/"); body != "two" {
					t.Fatalf("a new request was answered with %q", body)
				}
			}
			close(release)
			if body := <-result; body != "begun" {
				t.Errorf("the request under way was answered with %q", body)
			}
			select {
			case <-closed:
			case <-time.After(20 * time.Second):
				t.Error("the connection to the container that left is kept")
			}
		})
	}
}

func TestRestartedContainerGetsNewConnections(t *testing.T) {
	e := newEdge(t)
	first := e.web(1, answers("old"))
	if _, body := e.get("/"); body != "old" {
		t.Fatal(body)
	}
	first.Close()
	e.roster.Delete(instance(1).ID)
	e.web(1, answers("new"))
	inst := instance(1)
	inst.StartedAt = inst.StartedAt.Add(time.Hour)
	e.roster.Put(inst)
	if res, body := e.get("/"); body != "new" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
}

func TestShutdownFinishesRequestsAndTakesNoMore(t *testing.T) {
	e := newEdge(t)
	started, release := make(chan struct{}), make(chan struct{})
	e.web(1, func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-release
		io.WriteString(w, "done")
	})
	result := make(chan string, 1)
	go func() {
		_, body := e.get("/")
		result <- body
	}()
	<-started
	e.stop()
	addr := strings.TrimPrefix(e.url, "http://")
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, "the listener to close")
	close(release)
	if body := <-result; body != "done" {
		t.Errorf("the request under way got %q", body)
	}
}

func TestShutdownLetsWebSocketsFinish(t *testing.T) {
	e := newEdge(t)
	e.web(1, echo)
	conn := e.dial(t)
	defer conn.CloseNow()
	e.stop()
	addr := strings.TrimPrefix(e.url, "http://")
	eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	}, "the listener to close")
	// More than once: what cuts it would need a moment.
	for range 50 {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close(websocket.StatusNormalClosure, "")
	if err := <-e.stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	e.stopped <- nil
}

func TestShutdownCutsAfterTheDrainTime(t *testing.T) {
	e := newEdge(t, func(c *Config) { c.Limits.Drain = 50 * time.Millisecond })
	e.web(1, echo)
	conn := e.dial(t)
	defer conn.CloseNow()
	e.stop()
	if err := <-e.stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	e.stopped <- nil
	if _, _, err := conn.Read(context.Background()); err == nil {
		t.Error("the WebSocket is still open")
	}
}

// echo is a WebSocket program that sends back what it gets.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, msg, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, append([]byte(r.Header.Get("X-Real-Ip")+" "), msg...)); err != nil {
			return
		}
	}
}

func (e *edge) dial(t *testing.T) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(context.Background(), e.url+"/socket", &websocket.DialOptions{Host: shopHost})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestWebSocket(t *testing.T) {
	e := newEdge(t, func(c *Config) { c.Limits.Queue = 1 })
	e.web(1, echo)
	// More of them than the queue has places.
	for range 3 {
		conn := e.dial(t)
		defer conn.CloseNow()
		for _, text := range []string{"a", strings.Repeat("b", 20000)} {
			if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
			_, got, err := conn.Read(t.Context())
			if err != nil || string(got) != "127.0.0.1 "+text {
				t.Fatalf("got %.40q, %v", got, err)
			}
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	for _, entry := range e.log(3) {
		if entry.Status != 101 || entry.Bytes < 20000 || entry.Error != "" {
			t.Errorf("entry %+v", entry)
		}
	}
}

func TestSilentWebSocketIsClosed(t *testing.T) {
	e := newEdge(t, func(c *Config) { c.Limits.Idle = 100 * time.Millisecond })
	e.web(1, echo)
	conn := e.dial(t)
	defer conn.CloseNow()
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("a message out of nowhere")
	}
	if got := e.log(1)[0]; got.Status != 101 || got.Error != faultTimeout.code {
		t.Errorf("entry %+v", got)
	}
}

func TestServerSentEventsArriveOneByOne(t *testing.T) {
	e := newEdge(t)
	next := make(chan struct{})
	e.web(1, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			io.WriteString(w, "data: x\n\n")
			http.NewResponseController(w).Flush()
			<-next
		}
	})
	res, err := client.Do(e.request(http.MethodGet, "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 9)
	for range 3 {
		// The next event is only made when this one has arrived.
		if _, err := io.ReadFull(res.Body, buf); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
}
