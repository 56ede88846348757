package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Times of connections from clients.
const (
	readHeaderTimeout = 10 * time.Second
	clientIdle        = 75 * time.Second
)

type upgradesKey struct{}

// Serve accepts requests on l until ctx ends. Then it accepts no more, lets
// the requests that it has finish for at most Limits.Drain, WebSockets
// included, cuts what is left and returns nil. It closes l.
func (r *Router) Serve(ctx context.Context, l net.Listener) error {
	// Requests outlive ctx by up to the drain time.
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var upgrades sync.WaitGroup
	base = context.WithValue(base, upgradesKey{}, &upgrades)
	srv := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       clientIdle,
		MaxHeaderBytes:    r.cfg.Limits.Headers,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(r.cfg.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("cannot go on serving HTTP on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(base, r.cfg.Limits.Drain)
	defer cancel()
	err := srv.Shutdown(limit)
	if err == nil {
		// No request can begin any more, so neither can an upgrade.
		err = wait(limit, &upgrades)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		r.cfg.Log.Warn("Requests were cut at the end of the drain time", "address", l.Addr(), "after", r.cfg.Limits.Drain)
		err = nil
	}
	cut()
	return errors.Join(err, srv.Close())
}

func wait(ctx context.Context, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
