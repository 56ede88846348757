package router

import (
	"errors"
	"net"
	"net/http"
)

// RoundTrip sends a request to the container whose turn it is. It is the
// transport of the reverse proxy and takes no other requests.
//
// A request of which nothing was sent is tried once more, on the next
// container; when connecting failed, the first one is in quarantine by then.
func (r *Router) RoundTrip(req *http.Request) (*http.Response, error) {
	ex := exchangeOf(req)
	for attempt := 1; ; attempt++ {
		t, f := ex.route.pick()
		if f != nil {
			return nil, f
		}
		ex.target = t
		res, sent, err := t.roundTrip(req)
		t.answered()
		if err == nil {
			return res, nil
		}
		if req.Context().Err() == nil && !ex.body.failed() && !isTimeout(err) && (sent || isDial(err)) {
			t.quarantine(err)
		}
		if sent || attempt == 2 || req.Context().Err() != nil || ex.body.touched() {
			return nil, err
		}
	}
}

// isDial reports whether no connection could be made.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// isTimeout reports whether the container took too long to answer. Not to
// accept a connection in time is no answer at all, which is isDial.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() && !isDial(err)
}
