package client

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Follower is told what happens while something is followed. The functions
// are called one at a time, by the goroutine that follows.
type Follower struct {
	// Log gets output as it comes: parts of lines or several lines.
	Log func(text string)
	// Status gets each state of the deployment once, in order.
	Status func(status string)
	// Notice gets remarks about the connection, one sentence each.
	Notice func(text string)
}

// FollowDeployment hands on the output and the states of a deployment until
// it is over, and returns it as it ended; a failed deployment is no error of
// FollowDeployment. streamURL is the app's Links.DeploymentsStream.
//
// The stream shows what happens, but only the deployment itself, asked for
// every PollInterval, decides about the end: a stream that drops is opened
// again, one that never opens is done without, and what the stream missed is
// fetched at the end. When the server gives no answer at all for GiveUp, the
// error says so; the deployment may go on.
func (c *Client) FollowDeployment(ctx context.Context, streamURL, app, id string, f Follower) (Deployment, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{client: c, app: app, id: id, stream: streamURL, f: f,
		frames: make(chan streamFrame), polls: make(chan poll), hurry: make(chan struct{}, 1), shown: map[string]bool{}}
	var running sync.WaitGroup
	running.Go(func() { w.readStream(ctx) })
	running.Go(func() { w.pollDeployment(ctx) })
	defer running.Wait()
	defer cancel()
	return w.run(ctx)
}

// watch is one run of FollowDeployment.
type watch struct {
	client  *Client
	app, id string
	stream  string
	f       Follower
	frames  chan streamFrame
	polls   chan poll
	// hurry asks for a poll at once.
	hurry chan struct{}

	output transcript
	shown  map[string]bool
	opened bool
}

// streamFrame is a frame of the deployments stream, or one of our own types:
// "opened" and "dropped".
type streamFrame struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data struct {
		Content string `json:"content"`
		Status  string `json:"status"`
	} `json:"data"`
}

type poll struct {
	deployment Deployment
	err        error
}

func (w *watch) run(ctx context.Context) (Deployment, error) {
	var silentSince time.Time
	for {
		select {
		case <-ctx.Done():
			return Deployment{}, ctx.Err()
		case frame := <-w.frames:
			w.take(frame)
		case p := <-w.polls:
			switch {
			case p.err == nil && p.deployment.Final():
				return p.deployment, w.finish(ctx, p.deployment)
			case p.err == nil:
				silentSince = time.Time{}
				w.showStatus(p.deployment.Status)
			case !passing(p.err):
				return Deployment{}, p.err
			case silentSince.IsZero():
				silentSince = time.Now()
			case time.Since(silentSince) > w.client.cfg.GiveUp:
				return Deployment{}, fmt.Errorf("lost the server while following the deployment, which may go on: %w", p.err)
			}
		}
	}
}

// take handles one frame of the stream.
func (w *watch) take(frame streamFrame) {
	switch frame.Type {
	case "opened":
		w.output.reconnected()
		w.opened = true
	case "dropped":
		if w.opened {
			w.f.Notice("The live stream was interrupted; connecting again.")
		}
		w.opened = false
	case "log":
		w.showLog(w.output.add(frame.Data.Content))
	case "status":
		w.showStatus(frame.Data.Status)
		if (Deployment{Status: frame.Data.Status}).Final() {
			select {
			case w.hurry <- struct{}{}:
			default:
			}
		}
	}
}

// finish shows what the stream did not bring. Output that cannot be had does
// not change how the deployment ended.
func (w *watch) finish(ctx context.Context, d Deployment) error {
	whole, err := w.client.DeploymentOutput(ctx, d)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		w.f.Notice(fmt.Sprintf("The end of the output may be missing: %v.", err))
	} else if missing, ok := w.output.complete(whole); ok {
		w.showLog(missing)
	} else if whole != "" {
		w.f.Notice("Some of the output was missed while the live stream was interrupted.")
	}
	w.showStatus(d.Status)
	return nil
}

func (w *watch) showLog(text string) {
	if text != "" {
		w.f.Log(text)
	}
}

func (w *watch) showStatus(status string) {
	if status != "" && !w.shown[status] {
		w.shown[status] = true
		w.f.Status(status)
	}
}

// pollDeployment asks for the deployment until ctx ends.
func (w *watch) pollDeployment(ctx context.Context) {
	ticker := time.NewTicker(w.client.cfg.PollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-w.hurry:
		}
		d, err := w.client.Deployment(ctx, w.app, w.id)
		select {
		case <-ctx.Done():
			return
		case w.polls <- poll{d, err}:
		}
	}
}

// readStream keeps the stream open until ctx ends.
func (w *watch) readStream(ctx context.Context) {
	if w.stream == "" {
		return
	}
	var pauses backoff
	stale := ""
	for {
		jwt, err := w.client.bearer(ctx, stale)
		if err == nil {
			if w.readConnection(ctx, jwt) {
				stale = ""
				pauses.reset()
			} else {
				// Closed before the first frame: perhaps the JWT was refused.
				stale = jwt
			}
		}
		if !w.send(ctx, streamFrame{Type: "dropped"}) || pauses.wait(ctx) != nil {
			return
		}
	}
}

// readConnection hands on the frames of one connection and reports whether
// there were any.
func (w *watch) readConnection(ctx context.Context, jwt string) (lively bool) {
	s, err := w.client.dial(ctx, w.stream)
	if err != nil {
		return false
	}
	defer s.close()
	auth, err := json.Marshal(map[string]any{"type": "auth", "data": map[string]string{"token": jwt}})
	if err != nil || s.conn.Write(ctx, websocket.MessageText, auth) != nil {
		return false
	}
	for {
		content, err := s.read(ctx)
		if err != nil {
			return lively
		}
		if !lively && !w.send(ctx, streamFrame{Type: "opened"}) {
			return true
		}
		lively = true
		var frame streamFrame
		// Frames of other shapes ("new" with an object, later inventions)
		// and of other deployments are not for us.
		if json.Unmarshal(content, &frame) != nil || frame.ID != w.id {
			continue
		}
		if (frame.Type == "log" || frame.Type == "status") && !w.send(ctx, frame) {
			return true
		}
	}
}

func (w *watch) send(ctx context.Context, frame streamFrame) bool {
	select {
	case <-ctx.Done():
		return false
	case w.frames <- frame:
		return true
	}
}
