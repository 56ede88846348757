package api

import (
	"net/http"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// frameJSON is an event of the deployments stream: "new", "log", "status" or
// "ping". ID is the deployment's.
type frameJSON struct {
	Type string `json:"type"`
	ID   string `json:"id,omitempty"`
	Data any    `json:"data"`
}

// authTimeout is how long a client may wait with its auth frame.
const authTimeout = 10 * time.Second

// streamDeployments sends what happens to an app's deployments, from the
// newest one's beginning, over a web socket whose first frame is the
// client's {"type": "auth", "data": {"token": JWT}}.
func (a *API) streamDeployments(q *request) (response, error) {
	if !isUpgrade(q.Request) {
		return nil, badRequest("this is a web socket; connect with an Upgrade")
	}
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := a.accept(w, r)
		if err != nil {
			a.Log.Debug("Deployments stream was not opened", "error", err)
			return
		}
		defer s.end()
		app, refusal := q.authenticate(s)
		if refusal != "" {
			s.refuse(refusal)
			return
		}
		s.begin(a.PingEvery, frameJSON{Type: "ping", Data: object{}})
		err = a.Deployments.Follow(s.ctx, app.ID, func(kind string, d platform.Deployment, text string) error {
			frame, err := q.deploymentFrame(kind, d, text)
			if err != nil {
				return err
			}
			return s.send(frame)
		})
		a.Log.Debug("Deployments stream ended", "app", app.Name, "cause", err)
	}, nil
}

// Private

// authenticate reads the auth frame and finds the app, or says why not.
func (q *request) authenticate(s *socket) (app platform.App, refusal string) {
	var frame struct {
		Type string `json:"type"`
		Data struct {
			Token string `json:"token"`
		} `json:"data"`
	}
	if err := s.first(authTimeout, &frame); err != nil || frame.Type != "auth" {
		return app, "the first frame must be auth"
	}
	if err := q.session(frame.Data.Token); err != nil {
		return app, "the token is not valid"
	}
	app, err := q.app()
	if err != nil {
		return app, "no such app"
	}
	return app, ""
}

func (q *request) deploymentFrame(kind string, d platform.Deployment, text string) (frameJSON, error) {
	frame := frameJSON{Type: kind, ID: d.ID}
	switch kind {
	case "log":
		frame.Data = object{"content": text}
	case "status":
		frame.Data = object{"status": d.Status}
	default:
		shown, err := q.showDeployment(d)
		if err != nil {
			return frame, err
		}
		frame.Data = object{"deployment": shown}
	}
	return frame, nil
}
