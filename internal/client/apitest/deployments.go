package apitest

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// Deployment is played by the Script of a test.
type Deployment struct {
	// Archive is the uploaded source.
	Archive []byte
	s       *Server
	app     *app
	object  Object
	// history is what a newcomer to the stream is told: each log and status.
	history []Object
	output  strings.Builder
	streams map[chan Object]bool
	// joined gets a value when a stream connects.
	joined chan struct{}
}

// ID is the deployment's id.
func (d *Deployment) ID() string {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.object["id"].(string)
}

// Log writes output.
func (d *Deployment) Log(text string) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.output.WriteString(text)
	d.publish("log", Object{"content": text})
}

// LogUnseen writes output that no stream ever shows.
func (d *Deployment) LogUnseen(text string) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.output.WriteString(text)
}

// Status changes the state.
func (d *Deployment) Status(status string) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.object["status"] = status
	if status == "success" {
		d.app.object["status"] = "running"
	}
	d.publish("status", Object{"status": status})
}

// Set sets a field of the deployment's object.
func (d *Deployment) Set(field string, value any) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.object[field] = value
}

// AwaitStream waits until a client is connected to the stream.
func (d *Deployment) AwaitStream() {
	deadline := time.After(10 * time.Second)
	for {
		d.s.mu.Lock()
		connected := len(d.streams) > 0
		d.s.mu.Unlock()
		if connected {
			return
		}
		select {
		case <-d.joined:
		case <-deadline:
			d.s.t.Error("no client connected to the stream within 10 s")
			return
		}
	}
}

// Drop cuts the connected streams off.
func (d *Deployment) Drop() {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.drop()
}

func (d *Deployment) drop() {
	for ch := range d.streams {
		close(ch)
		delete(d.streams, ch)
	}
}

func (d *Deployment) publish(kind string, data Object) {
	frame := Object{"type": kind, "id": d.object["id"], "data": data}
	d.history = append(d.history, frame)
	for ch := range d.streams {
		ch <- frame
	}
}

// DropStreams cuts all streams off, those of logs and flows too.
func (s *Server) DropStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.apps {
		for _, d := range a.deployments {
			d.drop()
		}
		a.logs.drop()
	}
	s.dropFlows()
}

func (s *Server) deploymentRoutes() {
	s.handle("POST /v1/sources", func(r *http.Request) answer {
		s.read(r, &struct{}{})
		id := s.id("")
		s.uploads[id] = nil
		return answer{201, Object{"source": Object{"upload_url": s.URL + "/sources/" + id + "?token=up", "download_url": s.URL + "/sources/" + id + "?token=down"}}}
	})
	s.mux.HandleFunc("PUT /sources/{id}", s.upload)
	s.handleApp("POST", "/deployments", s.deploy)
	s.handleApp("GET", "/deployments", func(a *app, r *http.Request) answer {
		objects := []Object{}
		for _, d := range slices.Backward(a.deployments) {
			objects = append(objects, d.object)
		}
		return answer{200, Object{"deployments": objects, "meta": pagination(r, len(objects))}}
	})
	s.handleApp("GET", "/deployments/{id}", func(a *app, r *http.Request) answer {
		if d := a.deployment(r.PathValue("id")); d != nil {
			return answer{200, Object{"deployment": d.object}}
		}
		return notFound("deployment", "the deployment was not found")
	})
	s.mux.HandleFunc("GET /v1/apps/{app}/deployments/{id}/output", s.output)
	s.mux.HandleFunc("GET /streams/{app}", s.stream)
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" || r.Header.Get("Content-Type") != "application/x-gzip" || r.ContentLength < 0 {
		s.t.Errorf("upload with Authorization %q, Content-Type %q, length %d", r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.ContentLength)
	}
	content, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Query().Get("token") != "up" {
		write(w, answer{403, Object{"error": "bad upload"}})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads[r.PathValue("id")] = content
	write(w, answer{status: 200})
}

func (s *Server) deploy(a *app, r *http.Request) answer {
	var body struct {
		Deployment struct {
			GitRef    *string `json:"git_ref"`
			SourceURL string  `json:"source_url"`
		} `json:"deployment"`
	}
	s.read(r, &body)
	if n := len(a.deployments); n > 0 && a.deployments[n-1].running() {
		return answer{409, Object{"error": "a deployment of this app is running; wait for it to end"}}
	}
	id := strings.TrimSuffix(strings.TrimPrefix(body.Deployment.SourceURL, s.URL+"/sources/"), "?token=down")
	ref := ""
	if body.Deployment.GitRef != nil {
		ref = *body.Deployment.GitRef
	}
	d := &Deployment{Archive: s.uploads[id], s: s, app: a, streams: map[chan Object]bool{}, joined: make(chan struct{}, 1)}
	d.object = Object{"id": s.id(""), "app_id": a.object["id"], "created_at": Epoch, "status": "queued", "git_ref": ref,
		"image": "", "registry": "", "duration": 7, "postdeploy_hook": "", "image_size": 0, "pusher": owner()}
	d.object["links"] = Object{"output": s.URL + "/v1/apps/" + a.object["name"].(string) + "/deployments/" + d.object["id"].(string) + "/output"}
	a.deployments = append(a.deployments, d)
	s.scripts.Go(func() { s.Script(d) })
	return answer{201, Object{"deployment": d.object}}
}

func (d *Deployment) running() bool {
	return slices.Contains([]string{"queued", "building", "pushing", "starting"}, d.object["status"].(string))
}

func (a *app) deployment(id string) *Deployment {
	for _, d := range a.deployments {
		if d.object["id"] == id {
			return d
		}
	}
	return nil
}

func (s *Server) output(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(r.Header.Get("Authorization")) {
		write(w, answer{401, Object{"error": ""}})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.find(r.PathValue("app")).deployment(r.PathValue("id"))
	if d == nil || d.output.Len() == 0 {
		write(w, notFound("deployment", "no output"))
		return
	}
	_, _ = io.WriteString(w, d.output.String())
}

// stream is the deployments stream of an app: the client's auth frame first,
// then "new" and the history of the newest deployment, then what follows.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	var auth struct {
		Type string
		Data struct{ Token string }
	}
	if err := wsjson.Read(ctx, conn, &auth); err != nil || auth.Type != "auth" || !s.authorized("Bearer "+auth.Data.Token) {
		return
	}
	frames, replay := s.join(r.PathValue("app"))
	defer s.leave(frames)
	for _, frame := range replay {
		if wsjson.Write(ctx, conn, frame) != nil {
			return
		}
	}
	gone := conn.CloseRead(ctx)
	for {
		select {
		case <-gone.Done():
			return
		case frame, open := <-frames:
			if !open || wsjson.Write(ctx, conn, frame) != nil {
				return
			}
		}
	}
}

// join connects a stream to the newest deployment of an app.
func (s *Server) join(name string) (frames chan Object, replay []Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frames = make(chan Object, 1000)
	replay = []Object{{"type": "ping", "data": Object{}}}
	a := s.find(name)
	if len(a.deployments) == 0 {
		return frames, replay
	}
	d := a.deployments[len(a.deployments)-1]
	replay = append(replay, Object{"type": "new", "id": d.object["id"], "data": Object{"deployment": maps.Clone(d.object)}})
	replay = append(replay, d.history...)
	d.streams[frames] = true
	select {
	case d.joined <- struct{}{}:
	default:
	}
	return frames, replay
}

// leave forgets a stream whose client is gone.
func (s *Server) leave(frames chan Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.apps {
		for _, d := range a.deployments {
			delete(d.streams, frames)
		}
	}
}
