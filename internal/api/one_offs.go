package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/atollhq/atoll/internal/oneoff"
	"github.com/atollhq/atoll/internal/platform"
)

// attachPath is the front of the URLs of attached one-offs.
const attachPath = "/v1/one-offs/"

// runOneOff records a one-off. A detached one starts at once, an attached one
// when its client connects to the attach_url of the operation.
//
// A client of ours sends "atoll": whether it wants a terminal and how large,
// and that it can do without the pauses that others need.
func (a *API) runOneOff(q *request) (response, error) {
	var in struct {
		Command  string            `json:"command"`
		Env      map[string]string `json:"env"`
		Size     string            `json:"size"`
		Detached bool              `json:"detached"`
		Atoll    *struct {
			Terminal bool `json:"terminal"`
			Width    int  `json:"width"`
			Height   int  `json:"height"`
		} `json:"atoll"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	if in.Size == "" {
		in.Size = platform.DefaultSize
	}
	attached := oneoff.Attached{Terminal: true}
	if in.Atoll != nil {
		attached = oneoff.Attached{Terminal: in.Atoll.Terminal, Width: size(in.Atoll.Width), Height: size(in.Atoll.Height), Swift: true}
	}
	o, err := a.OneOffs.Start(q.Context(), q.user, app,
		platform.OneOff{Command: in.Command, Size: in.Size, Env: in.Env, Detached: in.Detached}, attached)
	if err != nil {
		return nil, err
	}
	state := platform.InstanceStarting
	shown := showContainer(app, platform.Instance{ID: o.ID, Type: o.Type(), Kind: o.Kind, Number: o.Number, State: state,
		Command: o.Command, Size: o.Size, CreatedAt: o.CreatedAt})
	return ok(object{"container": shown, "operation": o.OperationID,
		"operation_url": q.operationURL(platform.Operation{ID: o.OperationID, AppID: app.ID})})
}

// kill sends a signal to a container.
func (a *API) kill(q *request) (response, error) {
	var in struct {
		Signal string `json:"signal"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	if err := a.Control.Kill(q.Context(), app.ID, q.PathValue("id"), in.Signal); err != nil {
		return nil, err
	}
	return noContent()
}

// stopOneOff stops a one-off or a scheduled task. Containers of the formation
// are scaled; hooks end with their deployment.
func (a *API) stopOneOff(q *request) (response, error) {
	app, err := q.app()
	if err != nil {
		return nil, err
	}
	id := q.PathValue("id")
	o, err := a.Store.OneOff(q.Context(), id)
	if platform.CodeOf(err) == platform.CodeNotFound || err == nil && o.AppID != app.ID {
		rows, _ := a.Roster.Snapshot()
		for _, row := range rows {
			if row.ID == id && row.AppID == app.ID {
				return nil, platform.Conflict("%s belongs to the formation, it cannot be stopped by itself; scale %s to 0, or restart it", row.Label(), row.Type)
			}
		}
		return nil, platform.NotFound("container", "the app has no such container; list its containers to see them")
	}
	if err != nil {
		return nil, err
	}
	if err := a.OneOffs.Stop(q.Context(), o.ID, "it was stopped by "+q.user.Username, false); err != nil {
		return nil, err
	}
	return answer(http.StatusAccepted, object{}), nil
}

// resizeOneOff sets the size of the terminal. Clients send strings.
func (a *API) resizeOneOff(q *request) (response, error) {
	var in struct {
		Width  text16 `json:"width"`
		Height text16 `json:"height"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	o, err := q.oneOff()
	if err != nil {
		return nil, err
	}
	if in.Width == 0 || in.Height == 0 {
		return nil, badRequest(`the body must be {"width": "80", "height": "24"}`)
	}
	if err := a.OneOffs.Resize(q.Context(), o.ID, int(in.Width), int(in.Height)); err != nil {
		return nil, err
	}
	return ok(object{})
}

// addFile takes the field "file" of a form, for a one-off that nobody is
// connected to yet.
func (a *API) addFile(q *request) (response, error) {
	o, err := q.oneOff()
	if err != nil {
		return nil, err
	}
	kind, params, err := mime.ParseMediaType(q.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, badRequest(`the body must be a form (multipart/form-data) with a field "file"`)
	}
	// Beside the file there are only some headers.
	body := http.MaxBytesReader(q.w, q.Body, platform.MaxUpload+1<<20)
	parts := multipart.NewReader(&patient{body: body, rc: http.NewResponseController(q.w)}, params["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, badRequest(`the form has no field "file"`)
		}
		if err != nil {
			return nil, uploadProblem(err)
		}
		if part.FormName() != "file" || part.FileName() == "" {
			continue
		}
		if err := a.OneOffs.AddFile(q.Context(), o.ID, part.FileName(), part); err != nil {
			return nil, uploadProblem(err)
		}
		return ok(object{})
	}
}

// reasonHeader says why a one-off ended when that was not its own doing. It is
// no key of the answer, because clients of the original API take each value
// there for a number.
const reasonHeader = "X-Atoll-Reason"

// waitOneOff answers when a one-off has ended.
func (a *API) waitOneOff(q *request) (response, error) {
	o, err := q.oneOff()
	if err != nil {
		return nil, err
	}
	if o, err = a.OneOffs.Wait(q.Context(), o.ID); err != nil {
		return nil, err
	}
	if o.TimedOut {
		return nil, &httpError{status: http.StatusRequestTimeout, message: o.Error}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if o.Error != "" {
			w.Header().Set(reasonHeader, mime.QEncoding.Encode("utf-8", o.Error))
		}
		writeJSON(w, r, http.StatusOK, object{"exit_code": o.ExitCode})
	}, nil
}

// Private

// oneOff finds the one-off named in the path, of an app of the user.
func (q *request) oneOff() (platform.OneOff, error) {
	o, err := q.api.Store.OneOff(q.Context(), q.PathValue("id"))
	if err != nil {
		return o, err
	}
	if _, err := q.api.Store.App(q.Context(), q.user.ID, o.AppID); err != nil {
		return o, platform.NotFound("one-off", "there is no such one-off container of yours")
	}
	return o, nil
}

// attachURL is where to connect to a one-off. It names the port also where
// everybody knows it: clients dial what is written there.
func (q *request) attachURL(o platform.OneOff) string {
	base, err := url.Parse(q.base())
	if err != nil {
		return q.base() + attachPath + o.ID
	}
	if base.Port() == "" {
		port := "80"
		if base.Scheme == "https" {
			port = "443"
		}
		base.Host = net.JoinHostPort(base.Hostname(), port)
	}
	return base.Scheme + "://" + base.Host + path.Join(base.Path, attachPath, o.ID)
}

// uploadProblem keeps apart what the client can mend.
func uploadProblem(err error) error {
	var large *http.MaxBytesError
	var refused *platform.Error
	switch {
	case errors.As(err, &refused):
		return err
	case errors.As(err, &large):
		return &httpError{status: http.StatusRequestEntityTooLarge, message: fmt.Sprintf("the file is larger than %d MiB", platform.MaxUpload>>20)}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return badRequest("the upload did not arrive whole; try again")
	}
	return err
}

// size is a terminal's width or height; 0 for what cannot be one.
func size(n int) int {
	if n < 1 || n > maxTerminal {
		return 0
	}
	return n
}

const maxTerminal = 10000

// text16 is a small positive number that comes as a string or as a number.
type text16 int

// UnmarshalJSON implements json.Unmarshaler. What is no number is 0.
func (n *text16) UnmarshalJSON(text []byte) error {
	if unquoted, err := strconv.Unquote(string(text)); err == nil {
		text = []byte(unquoted)
	}
	value, err := strconv.Atoi(string(text))
	if err != nil {
		value = 0
	}
	*n = text16(size(value))
	return nil
}

// drainTime bounds how long the connection of a one-off that has ended is
// written to and read from.
const drainTime = 5 * time.Second
