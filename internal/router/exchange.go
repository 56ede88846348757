package router

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// exchange is what the router knows about one request under way. It belongs
// to the request's goroutine.
type exchange struct {
	started   time.Time
	requestID string
	route     *route
	// target is the container that has the request, nil before.
	target *target
	body   *clientBody
	cancel context.CancelFunc
	// idled: it was cancelled because nothing came for the idle time.
	idled atomic.Bool
	// fault and err say what went wrong, nil when nothing did.
	fault *fault
	err   error
	// upgraded is the container's side after a protocol switch.
	upgraded *upgradedConn
}

// idle ends the exchange because nothing came for the idle time. Any
// goroutine may call it.
func (ex *exchange) idle() {
	ex.idled.Store(true)
	ex.cancel()
}

type exchangeKey struct{}

// exchangeOf returns the exchange of a request that ServeHTTP let in.
func exchangeOf(req *http.Request) *exchange {
	return req.Context().Value(exchangeKey{}).(*exchange)
}
