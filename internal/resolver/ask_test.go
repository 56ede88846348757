package resolver

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
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

// TestAskIsAsPatientAsContainers: an upstream may use the time it has.
func TestAskIsAsPatientAsContainers(t *testing.T) {
	r, d := world()
	up := &recorder{}
	res := start(t, r, d, upstreamServer(t, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		time.Sleep(1500 * time.Millisecond)
		up.ServeDNS(w, q)
	})))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if code, addrs, err := Ask(ctx, "example.org.", dialer(res)); err != nil || code != "NOERROR" || len(addrs) != 1 {
		t.Errorf("%s %v, %v", code, addrs, err)
	}
}
