package apitest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// logBook is the log of an app and who follows it.
type logBook struct {
	lines   []string
	streams map[chan string]bool
	joined  chan struct{}
}

func newLogBook() *logBook {
	return &logBook{streams: map[chan string]bool{}, joined: make(chan struct{}, 1)}
}

func (b *logBook) drop() {
	for ch := range b.streams {
		close(ch)
		delete(b.streams, ch)
	}
}

// LogLine adds a line of a container to an app's log, stamped n nanoseconds
// after the Epoch.
func (s *Server) LogLine(name, label string, n int, text string) {
	s.logLine(name, label, n, text, true)
}

// LogUnseen is LogLine without telling those who follow the log.
func (s *Server) LogUnseen(name, label string, n int, text string) {
	s.logLine(name, label, n, text, false)
}

func (s *Server) logLine(name, label string, n int, text string, tell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := Epoch.Add(time.Duration(n)).Format("2006-01-02 15:04:05.000000000 -0700 MST") + " [" + label + "] " + text
	book := s.find(name).logs
	book.lines = append(book.lines, line)
	if !tell {
		return
	}
	for ch := range book.streams {
		ch <- line
	}
}

// AwaitLogStream waits until somebody follows an app's log.
func (s *Server) AwaitLogStream(name string) {
	s.mu.Lock()
	book := s.find(name).logs
	s.mu.Unlock()
	deadline := time.After(10 * time.Second)
	for {
		s.mu.Lock()
		connected := len(book.streams) > 0
		s.mu.Unlock()
		if connected {
			return
		}
		select {
		case <-book.joined:
		case <-deadline:
			s.t.Error("nobody followed the log within 10 s")
			return
		}
	}
}

func (s *Server) logRoutes() {
	s.handleApp("GET", "/logs", func(a *app, _ *http.Request) answer {
		return answer{200, Object{"logs_url": s.URL + "/logs/" + a.object["name"].(string) + "?token=look", "app": a.object}}
	})
	s.mux.HandleFunc("GET /logs/{app}", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("token") != "look" || r.Header.Get("Authorization") != "" {
			s.t.Errorf("logs asked for with token %q and Authorization %q", r.URL.Query().Get("token"), r.Header.Get("Authorization"))
			write(w, answer{401, Object{"error": "bad token"}})
			return
		}
		if r.URL.Query().Get("stream") == "true" {
			s.logStream(w, r)
			return
		}
		s.logDump(w, r)
	})
}

func (s *Server) logDump(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil {
		s.t.Errorf("logs with n=%q", r.URL.Query().Get("n"))
	}
	var lines []string
	s.mu.Lock()
	for _, line := range s.find(r.PathValue("app")).logs.lines {
		if passes(r.URL.Query(), line) {
			lines = append(lines, line)
		}
	}
	s.mu.Unlock()
	if s.AfterDump != nil {
		s.AfterDump()
	}
	lines = lines[max(0, len(lines)-n):]
	if len(lines) == 0 {
		write(w, answer{status: 204})
		return
	}
	_, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n")
}

// passes applies the filter: types or containers, separated by "|".
func passes(q url.Values, line string) bool {
	if q.Get("filter") == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(q.Get("filter"), "|"), func(f string) bool {
		return strings.Contains(line, "["+f+"]") || strings.Contains(line, "["+f+"-")
	})
}

func (s *Server) logStream(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	frames := make(chan string, 1000)
	s.mu.Lock()
	book := s.find(r.PathValue("app")).logs
	book.streams[frames] = true
	select {
	case book.joined <- struct{}{}:
	default:
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(book.streams, frames)
	}()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	gone := conn.CloseRead(ctx)
	for {
		select {
		case <-gone.Done():
			return
		case line, open := <-frames:
			if !open {
				return
			}
			if !passes(r.URL.Query(), line) {
				continue
			}
			if wsjson.Write(ctx, conn, Object{"event": "log", "name": "log", "log": line + "\n", "timestamp": Epoch}) != nil {
				return
			}
		}
	}
}
