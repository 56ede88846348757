package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/atollhq/atoll/internal/discovery"
	"github.com/atollhq/atoll/internal/router"
)

// observedName is the file in the run folder that says who was ready.
const observedName = "observed.json"

// openViews makes what reads the roster and the directory. Requests and
// questions that come from now on wait until serveViews.
func (s *machine) openViews(context.Context) (err error) {
	s.observer, err = discovery.New(discovery.Config{Roster: s.roster, File: filepath.Join(s.cfg.RunDir, observedName), Log: s.log})
	if err != nil {
		return err
	}
	proxies, err := s.cfg.trustedProxies()
	if err != nil {
		return err
	}
	s.routes, err = router.New(router.Config{Roster: s.roster, Directory: s.directory, TrustedProxies: proxies, AccessLog: s.logRequest, Log: s.log})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { s.routes.Close(); return nil })
	if s.edge, err = net.Listen("tcp", s.cfg.HTTPListen); err != nil {
		return fmt.Errorf("cannot listen for HTTP on %s: %w; stop what uses it or set http_listen", s.cfg.HTTPListen, err)
	}
	s.closers = append(s.closers, func() error {
		if err := s.edge.Close(); !errors.Is(err, net.ErrClosed) { // closed by Serve, if it came to that
			return err
		}
		return nil
	})
	return nil
}

// serveViews answers from now on: the roster knows what runs.
func (s *machine) serveViews(ctx context.Context) {
	if err := s.observer.Recall(); err != nil {
		s.log.Warn("Every container is looked at before it is in names and routes again", "error", err)
	}
	s.running.Go(func() error { return s.node.resolver.Run(ctx) })
	s.running.Go(func() error { return s.node.awaitUpstreams(ctx, s.log) })
	s.running.Go(func() error { return s.observer.Run(ctx) })
	s.running.Go(func() error { return s.routes.Serve(ctx, s.edge) })
	s.log.Info("Traffic and names are served", "http", s.cfg.HTTPListen, "domain", s.cfg.BaseDomain, "node", s.cfg.Node)
}
