package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// requestTime bounds a request from connect to the end of the answer.
	requestTime = 4 * time.Second
	// lookupTime bounds a question; it is asked again then.
	lookupTime = time.Second
	// ttl is that of private names: no answer is used for longer.
	ttl = 5 * time.Second
	// watchEvery is how often the name is looked at to tell when it changes;
	// the requests do not use what is seen.
	watchEvery = 20 * time.Millisecond
	// control is where the test asks how the requests went.
	control = ":4000"
)

// load sends requests until SIGTERM, each on a connection of its own.
func load(name string, rate int, every time.Duration) error {
	l := &loader{name: name, rate: rate, every: every, phase: newPhase("warming up")}
	go l.resolve()
	go l.watch()
	go l.send()
	mux := http.NewServeMux()
	mux.HandleFunc("/begin", l.begin)
	return listen(control, mux)
}

// loader is a client that keeps to the rules: it spreads over the addresses of
// the last answer, and uses none that is older than its TTL.
type loader struct {
	name    string
	rate    int
	every   time.Duration
	answers answers

	mu    sync.Mutex
	phase *phase
}

// begin ends the present phase, waits for its requests and answers with what
// became of them; the next phase is named by the query.
func (l *loader) begin(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	ended, at := l.phase, time.Now()
	l.phase = newPhase(r.URL.Query().Get("phase"))
	l.mu.Unlock()
	ended.requests.Wait()
	if err := json.NewEncoder(w).Encode(ended.report(at)); err != nil {
		fmt.Println("cannot report:", err)
	}
}

// send starts requests at an even pace. After a pause of the machine it catches
// up, so that no time goes untested.
func (l *loader) send() {
	for next := time.Now(); ; next = next.Add(time.Second / time.Duration(l.rate)) {
		time.Sleep(time.Until(next))
		p := l.enter()
		go func() {
			defer p.requests.Done()
			l.request(p)
		}()
	}
}

func (l *loader) request(p *phase) {
	began := time.Now()
	a, err := l.answers.use(began.Add(requestTime))
	o := outcome{At: began, ResolvedAt: a.at}
	if err == nil {
		target := a.addrs[rand.IntN(len(a.addrs))]
		o.Target = target.String()
		err = get(target, began.Add(requestTime))
	}
	o.took = time.Since(began)
	if err != nil {
		o.Error = fmt.Sprintf("%v (after %v)", err, o.took.Round(time.Millisecond))
	}
	p.add(o)
}

// get makes one request on a new connection.
func get(target netip.Addr, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(target.String(), port)+"/", nil)
	if err != nil {
		return err
	}
	resp, err := oneShot.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

var oneShot = &http.Transport{DisableKeepAlives: true}
