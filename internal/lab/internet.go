package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// RunInternet answers on the internet of a detached lab until ctx ends or
// something fails. This process owns the lab from then on: when it is gone the
// lab is a left-over.
func RunInternet(ctx context.Context, name string) error {
	l, err := Open(name)
	if err != nil {
		return err
	}
	if !l.detached {
		return fmt.Errorf("lab %s is not detached: the process that made it answers", name)
	}
	servers, err := startInternet(l, l.internet.zone)
	if err != nil {
		return err
	}
	if err := takeOver(l.dir); err != nil {
		return errors.Join(err, servers.stop())
	}
	select {
	case <-ctx.Done():
	case <-servers.failed:
	}
	return servers.stop()
}

// internetServers is who answers on the internet: resolver and echo.
type internetServers struct {
	group  errgroup.Group
	failed chan struct{} // gets a value when one of them ends
	ends   []func() error
}

func startInternet(l *Lab, z *zone) (*internetServers, error) {
	s := &internetServers{failed: make(chan struct{}, 1)}
	if err := s.start(l, z); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *internetServers) start(l *Lab, z *zone) error {
	log, err := os.OpenFile(l.questionsPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	s.ends = append(s.ends, log.Close)

	resolver := &upstream{zone: z, log: log}
	packets, err := l.internet.ListenPacket("udp4", InternetAddr+":53")
	if err != nil {
		return fmt.Errorf("cannot start the lab's resolver: %w", err)
	}
	s.serveDNS(&dns.Server{PacketConn: packets, Handler: resolver}, packets)

	streams, err := l.internet.Listen("tcp4", InternetAddr+":53")
	if err != nil {
		return fmt.Errorf("cannot start the lab's resolver: %w", err)
	}
	s.serveDNS(&dns.Server{Listener: streams, Handler: resolver}, streams)

	web, err := l.internet.Listen("tcp4", EchoAddr+":80")
	if err != nil {
		return fmt.Errorf("cannot start the lab's echo: %w", err)
	}
	echo := &http.Server{Handler: http.HandlerFunc(serveEcho), ReadHeaderTimeout: 10 * time.Second}
	s.serve(echo.Close, func() error { return echo.Serve(web) })
	return nil
}

// serveDNS runs one DNS server. Its end does not wait for idle connections.
func (s *internetServers) serveDNS(server *dns.Server, socket io.Closer) {
	s.serve(func() error {
		if server.Shutdown() == nil {
			return nil
		}
		return socket.Close() // it has not begun to serve yet
	}, server.ActivateAndServe)
}

// serve runs one server, which end ends.
func (s *internetServers) serve(end, run func() error) {
	s.ends = append(s.ends, end)
	s.group.Go(func() error {
		err := run()
		select {
		case s.failed <- struct{}{}:
		default:
		}
		if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
}

// stop ends all servers, the last started first, and waits for them.
func (s *internetServers) stop() error {
	var failures []error
	for i := len(s.ends) - 1; i >= 0; i-- {
		if err := s.ends[i](); err != nil && !errors.Is(err, net.ErrClosed) {
			failures = append(failures, err)
		}
	}
	return errors.Join(append(failures, s.group.Wait())...)
}
