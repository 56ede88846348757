package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of Config.
const (
	DefaultTimeout      = 30 * time.Second
	DefaultPollInterval = 3 * time.Second
	DefaultGiveUp       = 2 * time.Minute
)

// maxAnswer bounds what is read of one JSON answer.
const maxAnswer = 64 << 20

// Config is what a Client needs to know.
type Config struct {
	// URL is the base of API and authentication, "https://host[:port]",
	// without the /v1.
	URL string
	// Token is the API token ("tk-us-..."); it may be empty for CreateToken.
	Token string
	// Version is sent as User-Agent "atoll/<version>"; "dev" when empty.
	Version string
	// Timeout is the limit of one API request, reading the answer included.
	// Streams, uploads and log dumps have none.
	Timeout time.Duration
	// PollInterval is how often a followed deployment is asked for beside its
	// stream; operations are asked for three times as often.
	PollInterval time.Duration
	// GiveUp is how long FollowDeployment and WaitOperation go on without any
	// answer of the server.
	GiveUp time.Duration
	// Transport is for tests; nil means a transport of the client's own.
	Transport http.RoundTripper
}

// Client talks to one server as one user.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client

	mu      sync.Mutex
	jwt     string
	renewAt time.Time
}

// New returns a client. It sends nothing; the error says what is wrong with
// the URL.
func New(cfg Config) (*Client, error) {
	base, err := ParseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.PollInterval == 0 {
		cfg.PollInterval = DefaultPollInterval
	}
	if cfg.GiveUp == 0 {
		cfg.GiveUp = DefaultGiveUp
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	return &Client{
		cfg:  cfg,
		base: base,
		http: &http.Client{
			Transport:     cfg.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// ParseURL reads the base URL of a server and brings it into the one form
// that is stored and compared: no trailing slash, no query.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("cannot read the server URL %q: %w", text, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%q is no server URL: write it like https://api.example.com or http://127.0.0.1:8080", text)
	}
	if u.User != nil {
		return nil, errors.New("the server URL must not hold a user name or password: log in with a token instead")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the server URL %q must not hold a query or a fragment", text)
	}
	u.Host = strings.ToLower(u.Host)
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1")
	return u, nil
}

// URL is the base URL in its stored form.
func (c *Client) URL() string { return c.base.String() }

// request is one API request. body is marshalled unless nil; want are the
// statuses that mean success.
type request struct {
	method string
	path   string
	query  url.Values
	body   any
	want   []int
	// doing is the front of an error's text: "cannot list the apps".
	doing string
}

// do sends r with the user's JWT and decodes the answer into out (nil when
// the body does not matter).
func (c *Client) do(ctx context.Context, r request, out any) (header http.Header, err error) {
	err = c.authorized(ctx, func(jwt string) error {
		header, err = c.send(ctx, r, "Bearer "+jwt, out)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.doing, err)
	}
	return header, nil
}

// authorized runs attempt with a JWT, and once more with a new one when the
// server refuses the first: it may have been restarted with another key.
func (c *Client) authorized(ctx context.Context, attempt func(jwt string) error) error {
	jwt, err := c.bearer(ctx, "")
	if err != nil {
		return err
	}
	if err = attempt(jwt); StatusOf(err) != http.StatusUnauthorized {
		return err
	}
	if jwt, err = c.bearer(ctx, jwt); err != nil {
		return err
	}
	return attempt(jwt)
}

// send makes one attempt with the given Authorization header.
func (c *Client) send(ctx context.Context, r request, authorization string, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var body io.Reader
	if r.body != nil {
		encoded, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	target := c.base.String() + "/v1" + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	c.setHeaders(req, authorization)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(ctx, fmt.Errorf("the answer broke off: %w", err))
	}
	if !slices.Contains(r.want, resp.StatusCode) {
		return nil, c.errorOf(req, resp, content)
	}
	if out != nil {
		if err := json.Unmarshal(content, out); err != nil {
			return nil, c.notOurs(req, resp.StatusCode)
		}
	}
	return resp.Header, nil
}

func (c *Client) setHeaders(req *http.Request, authorization string) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "atoll/"+c.cfg.Version)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if req.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
}

// segment escapes a name or id for use as one segment of a path.
func segment(s string) string { return url.PathEscape(s) }
