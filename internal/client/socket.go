package client

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

const (
	// quietLimit is how long a live stream may be without any frame. Servers
	// ping every 20 to 30 s; twice that and more means a dead connection.
	quietLimit = 75 * time.Second
	// maxFrame bounds one frame; a replayed build output may come in one.
	maxFrame = 64 << 20
)

// socket is one web socket connection that reads text frames.
type socket struct{ conn *websocket.Conn }

// dial opens a web socket; ws, wss, http and https URLs are accepted.
func (c *Client) dial(ctx context.Context, target string) (socket, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, target, &websocket.DialOptions{
		HTTPClient: c.http,
		HTTPHeader: http.Header{"User-Agent": {"atoll/" + c.cfg.Version}},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return socket{}, &Error{Status: resp.StatusCode, Message: fmt.Sprintf("the live stream was refused with status %d", resp.StatusCode)}
		}
		return socket{}, c.unreachable(ctx, err)
	}
	conn.SetReadLimit(maxFrame)
	return socket{conn}, nil
}

// read returns the next frame.
func (s socket) read(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	_, frame, err := s.conn.Read(ctx)
	return frame, err
}

// readAll sends each frame to out until the connection or ctx ends.
func (s socket) readAll(ctx context.Context, out chan<- []byte) error {
	for {
		frame, err := s.read(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case out <- frame:
		}
	}
}

// close ends the connection without waiting for the other side.
func (s socket) close() { s.conn.CloseNow() }

// backoff counts the pauses between attempts to connect: 250 ms, doubling,
// at most 5 s.
type backoff time.Duration

func (b *backoff) wait(ctx context.Context) error {
	*b = min(max(2**b, backoff(250*time.Millisecond)), backoff(5*time.Second))
	return pause(ctx, time.Duration(*b))
}

func (b *backoff) reset() { *b = 0 }
