package resolver

import (
	"context"
	"errors"
	"net"
	"testing"
)

func dialer(res *Resolver) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, network string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, res.Addrs()[0].String())
	}
}

// TestAskAfterTheEnd: whoever asks is gone before the question is.
func TestAskAfterTheEnd(t *testing.T) {
	r, d := world()
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, _, err := Ask(ctx, "shop-app.internal.", dialer(start(t, r, d))); !errors.Is(err, gone) {
		t.Errorf("%v, want %v", err, gone)
	}
}
