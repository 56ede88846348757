package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// sendTimeout is how long a client may take to accept a frame.
const sendTimeout = 30 * time.Second

// maxFrame bounds what a client sends; the largest is the auth frame.
const maxFrame = 32 << 10

// socket is a web socket to a client. Frames are JSON text.
type socket struct {
	conn *websocket.Conn
	// ctx ends when the client is gone, at end(), and with the API.
	ctx    context.Context
	cancel context.CancelFunc
}

// isUpgrade reports whether the client asks for a web socket.
func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// accept upgrades the connection. After an error the answer is written.
//
// Origin is not checked: credentials are in the URL or in a frame, never in
// something that a browser adds by itself, and clients send made-up origins.
func (a *API) accept(w http.ResponseWriter, r *http.Request) (*socket, error) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, fmt.Errorf("cannot open a web socket: %w", err)
	}
	conn.SetReadLimit(maxFrame)
	ctx, cancel := context.WithCancel(a.ctx)
	return &socket{conn: conn, ctx: ctx, cancel: cancel}, nil
}

// first reads the client's first frame, which must come within limit.
func (s *socket) first(limit time.Duration, v any) error {
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	_, b, err := s.conn.Read(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// begin reads and drops what else the client sends (its pongs and its close
// among it) and sends a ping every so often.
func (s *socket) begin(every time.Duration, ping any) {
	go func() {
		defer s.cancel()
		for {
			// Not s.ctx: the library cuts the connection when it ends, and
			// end() would have nothing left to say goodbye on.
			if _, _, err := s.conn.Read(context.Background()); err != nil {
				return
			}
		}
	}()
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-ticker.C:
				if s.send(ping) != nil {
					s.cancel()
					return
				}
			}
		}
	}()
}

// send writes a frame; it is safe for concurrent use.
func (s *socket) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, b)
}

// refuse ends the socket with a reason.
func (s *socket) refuse(reason string) {
	s.conn.Close(websocket.StatusPolicyViolation, reason) //nolint:errcheck // the client is gone then
}

// end closes the socket: it ends the two goroutines of begin.
func (s *socket) end() {
	s.cancel()
	s.conn.Close(websocket.StatusGoingAway, "") //nolint:errcheck // the client is gone then
}
