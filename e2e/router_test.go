package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
	"github.com/atollhq/atoll/internal/lab"
)

// TestForwardedHeaders looks at what containers learn about a request, and
// that clients cannot lie about it.
func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	a := m.App(t, m.Project(t, "headers"), "headers-app")
	a.Deploy(t, rig.Probe(t, "1", rig.Types{"web": ""}))

	var got map[string]string
	a.Get(t, 200, a.URL("/headers"), "X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "bank.example",
		"X-Real-IP", "192.0.2.1", "Forwarded", "for=192.0.2.1", "X_Forwarded_For", "192.0.2.1", "X-Request-ID", "short").Read(t, &got)
	for name, want := range map[string]string{
		"host": "headers-app." + rig.BaseDomain, "x-forwarded-for": lab.InternetAddr, "x-real-ip": lab.InternetAddr,
		"x-forwarded-proto": "http", "x-forwarded-port": "80", "x-forwarded-host": "", "forwarded": "", "x_forwarded_for": "",
	} {
		if got[name] != want {
			t.Errorf("%s is %q inside, want %q", name, got[name], want)
		}
	}
	if id := got["x-request-id"]; len(id) < 20 {
		t.Errorf("x-request-id is %q inside, want one made by the router", id)
	}
}

// TestNoRequestFails replaces containers under a steady stream of requests,
// by a restart and by a deployment of a new version.
func TestNoRequestFails(t *testing.T) {
	t.Parallel()
	m := rig.Use(t)
	a := m.App(t, m.Project(t, "steady"), "steady-app")
	a.Deploy(t, rig.Probe(t, "1", rig.Types{"web": ""}))
	a.Must(t, "scale", "web:2")
	old := a.Ps(t)

	load := newLoad(m, a.URL("/"))
	a.Must(t, "restart")
	a.Deploy(t, rig.Probe(t, "2", rig.Types{"web": ""}))
	for _, c := range old { // drained, asked to stop, stopped
		rig.AwaitGone(t, c)
	}
	rig.Await(t, time.Minute, "the second version to be alone", func() error {
		if list := a.Ps(t); len(list) != 2 {
			return fmt.Errorf("there are %+v", list)
		}
		return nil
	})
	versions, failures := load.end()

	if len(failures) > 0 {
		t.Errorf("%d of %d requests failed, the first: %v", len(failures), len(failures)+versions["1"]+versions["2"], failures[0])
	}
	if versions["1"] < 5 || versions["2"] < 5 {
		t.Errorf("the versions answered %v requests: there was no load", versions)
	}
	for _, c := range a.Ps(t) {
		if slices.ContainsFunc(old, func(o rig.Container) bool { return o.ID == c.ID }) {
			t.Errorf("%s was not replaced", c.Label)
		}
	}
}

// load is a stream of 20 requests a second: half of them on connections of
// their own, half on kept ones.
type load struct {
	stop     context.CancelFunc
	done     sync.WaitGroup
	mu       sync.Mutex
	versions map[string]int
	failures []error
}

func newLoad(m *rig.Machine, url string) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop, versions: map[string]int{}}
	fresh := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: m.Lab.DialInternet, DisableKeepAlives: true}}
	l.done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			client := fresh
			if n%2 == 0 {
				client = m.Client
			}
			l.done.Go(func() { l.request(client, url) })
		}
	})
	return l
}

func (l *load) request(client *http.Client, url string) {
	version, err := versionAt(client, url)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failures = append(l.failures, fmt.Errorf("at %s: %w", time.Now().Format(time.TimeOnly), err))
		return
	}
	l.versions[version]++
}

func versionAt(client *http.Client, url string) (string, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	p, err := rig.Send(client, req)
	if err != nil {
		return "", err
	}
	if p.Status != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", p.Status, p.Body)
	}
	var answer rig.Probed
	err = json.Unmarshal([]byte(p.Body), &answer)
	return answer.Version, err
}

// end stops the stream and waits for the last answers.
func (l *load) end() (versions map[string]int, failures []error) {
	l.stop()
	l.done.Wait()
	return l.versions, l.failures
}
