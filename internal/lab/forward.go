package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// dialLimit is how long a forwarded connection may take to be made.
const dialLimit = 10 * time.Second

// ListenLoopback listens in the machine's own network namespace, so that a
// person can look into the lab. Only 127.0.0.1 is allowed: whoever may connect
// is in the lab.
func ListenLoopback(addr string) (*net.TCPListener, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || ap.Addr() != netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
		return nil, fmt.Errorf("cannot listen on %q: only 127.0.0.1 and a port are allowed, such as 127.0.0.1:8080", addr)
	}
	return net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(ap))
}

// Forward accepts TCP connections and passes each on to the address to, dialled
// from a namespace of a lab, until ctx ends. It closes the listener.
func Forward(ctx context.Context, listener net.Listener, from Namespace, to string) error {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	defer listener.Close()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot accept connections for %s: %w", to, err)
		}
		conns.Go(func() {
			if err := pass(ctx, conn, from, to); err != nil {
				slog.Warn("A forwarded connection failed", "to", to, "err", err)
			}
		})
	}
}

// pass carries one connection until both sides have said all.
func pass(ctx context.Context, visitor net.Conn, from Namespace, to string) error {
	defer visitor.Close()
	dialCtx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	inside, err := from.Dial(dialCtx, "tcp4", to)
	if err != nil {
		return err
	}
	defer inside.Close()
	stop := context.AfterFunc(ctx, func() { visitor.Close(); inside.Close() })
	defer stop()

	var back sync.WaitGroup
	back.Go(func() { carry(visitor, inside) })
	carry(inside, visitor)
	back.Wait()
	return nil
}

// carry copies one direction and passes its end on. A direction that breaks
// ends the whole connection, as it would without us.
func carry(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err != nil && !errors.Is(err, net.ErrClosed) {
		dst.Close()
		src.Close()
		return
	}
	if half, ok := dst.(interface{ CloseWrite() error }); ok {
		// An error means that it is closed already.
		_ = half.CloseWrite()
	}
}
