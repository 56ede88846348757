package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Run is a wish for a one-off container.
type Run struct {
	Command string            `json:"command"`
	Env     map[string]string `json:"env"`
	// Size "" means the default one.
	Size     string `json:"size"`
	Detached bool   `json:"detached"`
	// HasUploads is always false; files are sent after the run was asked for.
	HasUploads bool `json:"has_uploads"`
	// Terminal is for attached ones.
	Terminal Terminal `json:"atoll"`
}

// Terminal is what the person sits at. Without Wanted there is none: standard
// input is a stream that ends, standard output is not altered.
type Terminal struct {
	Wanted bool `json:"terminal"`
	Width  int  `json:"width"`
	Height int  `json:"height"`
}

// OneOff is a one-off container that was asked for.
type OneOff struct {
	Container Container `json:"container"`
	// Operation is the id of the operation that starts it.
	Operation string `json:"operation"`
}

// StartOneOff says where to connect to an attached one-off.
type StartOneOff struct {
	AttachURL   string `json:"attach_url"`
	ContainerID string `json:"container_id"`
}

// RunOneOff asks for a one-off container of an app.
func (c *Client) RunOneOff(ctx context.Context, app string, r Run) (OneOff, error) {
	var answer OneOff
	if r.Env == nil {
		r.Env = map[string]string{}
	}
	_, err := c.do(ctx, request{method: "POST", path: "/apps/" + segment(app) + "/run", body: r, want: []int{200}, doing: "cannot run the command"}, &answer)
	return answer, err
}

// StopContainer ends a one-off container.
func (c *Client) StopContainer(ctx context.Context, app, id string) error {
	_, err := c.do(ctx, request{method: "POST", path: "/apps/" + segment(app) + "/containers/" + segment(id) + "/stop", body: struct{}{},
		want: []int{http.StatusAccepted}, doing: "cannot stop the container"}, nil)
	return err
}

// SignalContainer sends a signal ("SIGUSR1") to the first process of a
// container.
func (c *Client) SignalContainer(ctx context.Context, app, id, signal string) error {
	_, err := c.do(ctx, request{method: "POST", path: "/apps/" + segment(app) + "/containers/" + segment(id) + "/kill",
		body: map[string]string{"signal": signal}, want: []int{http.StatusNoContent}, doing: "cannot send the signal"}, nil)
	return err
}

// UploadFile sends a file for an attached one-off that nobody is connected to
// yet. It has no time limit but its context.
func (c *Client) UploadFile(ctx context.Context, attachURL, name string, content io.Reader) error {
	// The content can be read once only, so the JWT has to be good at once.
	jwt, err := c.bearer(ctx, "")
	if err != nil {
		return err
	}
	body, feed := io.Pipe()
	form := multipart.NewWriter(feed)
	go func() {
		part, err := form.CreateFormFile("file", name)
		if err == nil {
			_, err = io.Copy(part, content)
		}
		if err == nil {
			err = form.Close()
		}
		feed.CloseWithError(err)
	}()
	defer body.Close()
	_, err = c.sendTo(ctx, http.MethodPost, attachURL+"/files", form.FormDataContentType(), body, jwt, nil)
	if err != nil {
		return fmt.Errorf("cannot upload %s: %w", name, err)
	}
	return nil
}

// Resize tells the size of the terminal.
func (c *Client) Resize(ctx context.Context, attachURL string, width, height int) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	text := fmt.Sprintf(`{"width":"%d","height":"%d"}`, width, height)
	return c.authorized(ctx, func(jwt string) error {
		_, err := c.sendTo(ctx, http.MethodPut, attachURL, "application/json", strings.NewReader(text), jwt, nil)
		return err
	})
}

// WaitOneOff waits for the end of a one-off and returns its exit code, and
// the reason of its end when that was not its own doing.
func (c *Client) WaitOneOff(ctx context.Context, attachURL string) (exitCode int, reason string, err error) {
	var answer struct {
		ExitCode int `json:"exit_code"`
	}
	err = c.authorized(ctx, func(jwt string) error {
		header, err := c.sendTo(ctx, http.MethodGet, attachURL+"/wait", "", nil, jwt, &answer)
		reason = header.Get("X-Atoll-Reason")
		return err
	})
	if err != nil {
		return 0, "", fmt.Errorf("cannot tell how the command ended: %w", err)
	}
	// Headers are ASCII: other letters come encoded.
	if decoded, err := new(mime.WordDecoder).DecodeHeader(reason); err == nil {
		reason = decoded
	}
	return answer.ExitCode, reason, nil
}

// Connection is a raw pipe to the process of a one-off.
type Connection struct {
	net.Conn
	from *bufio.Reader
}

// Read reads what the process writes.
func (c *Connection) Read(p []byte) (int, error) { return c.from.Read(p) }

// CloseWrite ends the standard input of the process.
func (c *Connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Attach connects to a one-off, which starts then. The connection ends with
// the process; the end of ctx closes it.
func (c *Client) Attach(ctx context.Context, attachURL string) (*Connection, error) {
	var conn *Connection
	err := c.authorized(ctx, func(jwt string) (err error) {
		conn, err = c.connect(ctx, attachURL, jwt)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the container: %w", err)
	}
	return conn, nil
}

// Private

func (c *Client) connect(ctx context.Context, attachURL, jwt string) (*Connection, error) {
	target, err := url.Parse(attachURL)
	if err != nil || target.Host == "" || target.Port() == "" {
		return nil, fmt.Errorf("the server sent an unusable address: %q", attachURL)
	}
	dialing, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	raw, err := c.dialTo(dialing, target)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	stop := context.AfterFunc(dialing, func() { raw.Close() })
	req, err := http.NewRequestWithContext(ctx, http.MethodConnect, attachURL, nil)
	if err != nil {
		raw.Close()
		return nil, err
	}
	c.setHeaders(req, basic("", jwt))
	// The request line has the path, which net/http does not write.
	_, err = fmt.Fprintf(raw, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nAuthorization: %s\r\n\r\n",
		target.EscapedPath(), target.Host, req.UserAgent(), req.Header.Get("Authorization"))
	from := bufio.NewReader(raw)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(from, req)
	}
	if err != nil {
		raw.Close()
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer raw.Close()
		body, err := io.ReadAll(io.LimitReader(from, max(resp.ContentLength, 0)))
		if err != nil {
			return nil, c.unreachable(ctx, err)
		}
		return nil, c.errorOf(req, resp, body)
	}
	if !stop() {
		raw.Close()
		return nil, c.unreachable(ctx, dialing.Err())
	}
	context.AfterFunc(ctx, func() { raw.Close() })
	return &Connection{Conn: raw, from: from}, nil
}

func (c *Client) dialTo(ctx context.Context, target *url.URL) (net.Conn, error) {
	if target.Scheme != "https" {
		return new(net.Dialer).DialContext(ctx, "tcp", target.Host)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if transport, ok := c.cfg.Transport.(*http.Transport); ok && transport.TLSClientConfig != nil {
		config = transport.TLSClientConfig.Clone()
		config.NextProtos = nil
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", target.Host)
}

// sendTo sends a request to a URL that the server named.
func (c *Client) sendTo(ctx context.Context, method, target, contentType string, body io.Reader, jwt string, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	c.setHeaders(req, basic("", jwt))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if !slices.Contains([]int{http.StatusOK, http.StatusNoContent}, resp.StatusCode) {
		return nil, c.errorOf(req, resp, content)
	}
	if out != nil {
		if err := json.Unmarshal(content, out); err != nil {
			return nil, c.notOurs(req, resp.StatusCode)
		}
	}
	return resp.Header, nil
}
