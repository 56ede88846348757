package auth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Failures allowed at once and how fast they are forgiven. One address may
// guess less often than one account may be guessed at: the second limit is
// against many addresses, and it must not lock people out of their account
// too easily.
const (
	addressBurst  = 10
	addressRefill = 10 * time.Second
	accountBurst  = 30
	accountRefill = 30 * time.Second
	// maxKeys bounds the memory; beyond it the ones that were forgiven
	// everything are dropped, then the table starts anew.
	maxKeys = 10000
)

// Brake slows guessing down: after too many failed logins, from one address
// or for one account, further attempts are refused unseen. It is safe for
// concurrent use.
type Brake struct {
	mu      sync.Mutex
	now     func() time.Time
	buckets map[string]*rate.Limiter
}

// NewBrake returns a Brake with the given clock.
func NewBrake(now func() time.Time) *Brake {
	return &Brake{now: now, buckets: map[string]*rate.Limiter{}}
}

// Allow reports whether a login may be tried; if not, after how long it may.
// account is "" when none is named.
func (b *Brake) Allow(address, account string) (bool, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var wait time.Duration
	for _, l := range b.of(address, account) {
		if missing := 1 - l.TokensAt(b.now()); missing > 0 {
			wait = max(wait, time.Duration(missing/float64(l.Limit())*float64(time.Second)))
		}
	}
	return wait == 0, wait
}

// Failed notes a failed login.
func (b *Brake) Failed(address, account string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.of(address, account) {
		l.AllowN(b.now(), 1)
	}
}

// Private

func (b *Brake) of(address, account string) []*rate.Limiter {
	list := []*rate.Limiter{b.bucket("address "+address, addressRefill, addressBurst)}
	if account != "" {
		list = append(list, b.bucket("account "+account, accountRefill, accountBurst))
	}
	return list
}

func (b *Brake) bucket(key string, refill time.Duration, burst int) *rate.Limiter {
	l, ok := b.buckets[key]
	if !ok {
		if len(b.buckets) >= maxKeys {
			b.prune()
		}
		l = rate.NewLimiter(rate.Every(refill), burst)
		b.buckets[key] = l
	}
	return l
}

func (b *Brake) prune() {
	for key, l := range b.buckets {
		if l.TokensAt(b.now()) >= float64(l.Burst()) {
			delete(b.buckets, key)
		}
	}
	if len(b.buckets) >= maxKeys {
		clear(b.buckets)
	}
}
