package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/api/auth"
	"github.com/atollhq/atoll/internal/platform"
)

// Config is what the API works with. All of the first group is needed.
type Config struct {
	Store       Store
	Control     Control
	OneOffs     OneOffs
	Deployments Deployments
	Logs        Logs
	Roster      Roster
	Diagnoser   Diagnoser
	Policies    Policies
	Traffic     Traffic
	Refusals    Refusals
	// Sources is the folder of uploaded archives (see SourcePath). It is made
	// when it is not there.
	Sources string
	// AppURL is the public URL of an app by name, without a final slash.
	AppURL func(app string) string

	// ClearCache forgets what builds of an app kept for the next one; nothing
	// there is no error. nil when builds keep nothing.
	ClearCache func(appID string) error
	// GitURL is where an app is pushed to; nil when there is no git server.
	GitURL func(app string) string
	// URL is how clients reach this API, "scheme://host[:port]" without a
	// final slash. "" means: as the request says.
	URL string
	// Region is the name of the region (default: local), DisplayName what
	// people read (default: the same).
	Region      string
	DisplayName string
	// SSH is the "host:port" of the SSH endpoint, "" when there is none.
	SSH string
	// MaxSource is the most bytes of an uploaded archive; 0 means
	// DefaultMaxSource.
	MaxSource int64
	// PingEvery is the time between pings on streams; 0 means 25 s, within
	// what the idle limits of proxies usually allow.
	PingEvery time.Duration
	// Idle is how long an attached one-off may be silent; 0 means
	// platform.OneOffIdle.
	Idle time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log is the logger; nil means slog.Default().
	Log *slog.Logger
}

// DefaultMaxSource is the most bytes of an uploaded archive: no compressed
// one that is allowed (300 MiB when unpacked, BU-3) is larger.
const DefaultMaxSource = 300 << 20

// API is the HTTP API. It is an http.Handler; serve it with a
// ReadHeaderTimeout and without a WriteTimeout (streams are long).
type API struct {
	Config
	mux    *http.ServeMux
	tokens *auth.Signer
	brake  *auth.Brake
	// ctx ends all streams.
	ctx  context.Context
	stop context.CancelFunc
}

// New returns the API. It reads (at the first start: makes) the secret that
// signs tokens.
func New(ctx context.Context, c Config) (*API, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	secret, err := c.Store.Secret(ctx, "api")
	if err != nil {
		return nil, fmt.Errorf("cannot start the API: %w", err)
	}
	signer, err := auth.NewSigner(secret, c.Now)
	if err != nil {
		return nil, fmt.Errorf("cannot start the API: %w", err)
	}
	if err := os.MkdirAll(c.Sources, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of uploaded sources: %w", err)
	}
	a := &API{Config: c, tokens: signer, brake: auth.NewBrake(c.Now)}
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.mux = a.routes()
	a.removeOldSources()
	return a, nil
}

// Close ends all streams. http.Server.Shutdown does not: web sockets are no
// longer its own.
func (a *API) Close() { a.stop() }

// Private

func (c *Config) complete() error {
	for name, missing := range map[string]bool{
		"Store": c.Store == nil, "Control": c.Control == nil, "OneOffs": c.OneOffs == nil, "Deployments": c.Deployments == nil, "Logs": c.Logs == nil,
		"Roster": c.Roster == nil, "Diagnoser": c.Diagnoser == nil, "Policies": c.Policies == nil, "Traffic": c.Traffic == nil,
		"Refusals": c.Refusals == nil,
		"Sources":  c.Sources == "", "AppURL": c.AppURL == nil,
	} {
		if missing {
			return errors.New("cannot start the API without " + name)
		}
	}
	c.URL = strings.TrimRight(c.URL, "/")
	if c.URL != "" && !strings.HasPrefix(c.URL, "http://") && !strings.HasPrefix(c.URL, "https://") {
		return fmt.Errorf("the URL of the API is %q; it must begin with http:// or https://", c.URL)
	}
	if c.GitURL == nil {
		c.GitURL = func(string) string { return "" }
	}
	if c.ClearCache == nil {
		c.ClearCache = func(string) error { return nil }
	}
	if c.Region == "" {
		c.Region = "local"
	}
	if c.DisplayName == "" {
		c.DisplayName = c.Region
	}
	if c.MaxSource == 0 {
		c.MaxSource = DefaultMaxSource
	}
	if c.PingEvery == 0 {
		c.PingEvery = 25 * time.Second
	}
	if c.Idle == 0 {
		c.Idle = platform.OneOffIdle
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}
