package router

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/platform"
)

func TestRequestsGoRoundInTurn(t *testing.T) {
	e := newEdge(t)
	for n, name := range map[int]string{1: "one", 2: "two", 3: "three"} {
		e.web(n, answers(name))
	}
	var got []string
	for range 7 {
		_, body := e.get("/")
		got = append(got, body)
	}
	if s := strings.Join(got, " "); s != "one two three one two three one" {
		t.Errorf("one client got %s", s)
	}
	var mu sync.Mutex
	counts := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 30 {
				_, body := e.get("/")
				mu.Lock()
				counts[body]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for name, n := range counts {
		if n != 80 {
			t.Errorf("%s got %d of 240 requests, want 80", name, n)
		}
	}
}

func TestOnlyContainersInServiceGetRequests(t *testing.T) {
	e := newEdge(t)
	e.web(1, answers("one"))
	for n, change := range map[int]func(*platform.Instance){
		2: func(i *platform.Instance) { i.Observation.Ready = false },
		3: func(i *platform.Instance) { i.State = platform.InstanceDraining },
		4: func(i *platform.Instance) { i.Active = false },
		5: func(i *platform.Instance) { i.Type = "api" },
		6: func(i *platform.Instance) { i.Kind = platform.KindOneOff },
		7: func(i *platform.Instance) { i.AppID = "ap-other" },
	} {
		e.web(n, answers("wrong"))
		e.roster.Delete(instance(n).ID)
		inst := instance(n)
		change(&inst)
		e.roster.Put(inst)
	}
	for range 10 {
		if _, body := e.get("/"); body != "one" {
			t.Fatalf("got %q", body)
		}
	}
}

func TestHosts(t *testing.T) {
	e := newEdge(t)
	e.web(1, answers("one"))
	for host, want := range map[string]int{
		shopHost: 200, "SHOP-app.Example.ORG": 200, shopHost + ":8080": 200, shopHost + ".": 200, shopHost + ".:80": 200,
		"example.org": 404, "127.0.0.1": 404, "[::1]:80": 404, "x." + shopHost: 404,
	} {
		req := e.request(http.MethodGet, "/", nil)
		req.Host = host
		res, body := e.do(req)
		if res.StatusCode != want {
			t.Errorf("host %q: %d", host, res.StatusCode)
		}
		if want == 404 {
			wantFault(t, res, body, faultUnknownHost)
		}
	}
	for _, entry := range e.log(9) {
		if (entry.Status == 200) != (entry.AppName == "shop-app") {
			t.Errorf("entry %+v", entry)
		}
	}
}

func TestAppsWithoutContainerInService(t *testing.T) {
	e := newEdge(t)
	res, body := e.get("/")
	wantFault(t, res, body, faultStopped)
	inst := instance(1)
	inst.State = platform.InstanceStarting
	e.roster.Put(inst)
	res, body = e.get("/")
	wantFault(t, res, body, faultNotReady)
	e.directory.Put(directory.App{ID: "ap-new", Name: "new-app", Hosts: []string{"new-app.example.org"}})
	req := e.request(http.MethodGet, "/", nil)
	req.Host = "new-app.example.org"
	res, body = e.do(req)
	wantFault(t, res, body, faultNotDeployed)
}

func TestErrorPagesComeAsAskedFor(t *testing.T) {
	e := newEdge(t)
	for accept, kind := range map[string]string{
		"": "text/plain; charset=utf-8", "*/*": "text/plain; charset=utf-8",
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "text/html; charset=utf-8",
		"application/json": "application/json; charset=utf-8", "application/vnd.api+json": "application/json; charset=utf-8",
		"text/plain, text/html": "text/plain; charset=utf-8",
	} {
		req := e.request(http.MethodGet, "/", nil)
		req.Header.Set("Accept", accept)
		res, body := e.do(req)
		if got := res.Header.Get("Content-Type"); got != kind {
			t.Errorf("Accept %q: got %q, want %q", accept, got, kind)
		}
		id := res.Header.Get("X-Request-Id")
		if id == "" || !strings.Contains(body, id) {
			t.Errorf("Accept %q: the page does not name the request %q:\n%s", accept, id, body)
		}
		if strings.Contains(kind, "json") {
			var v struct {
				Status                int
				Error, Message, Owner string
			}
			if err := json.Unmarshal([]byte(body), &v); err != nil || v.Status != 503 || v.Error != faultStopped.code || v.Owner == "" {
				t.Errorf("JSON page: %s (%v)", body, err)
			}
		}
	}
}

func TestAccessLog(t *testing.T) {
	e := newEdge(t)
	e.web(1, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "short and stout")
	})
	req := e.request(http.MethodPost, "/pot?tip=1", strings.NewReader("x"))
	req.Header.Set("Referer", "https://example.net/")
	req.Header.Set("User-Agent", "kettle/1")
	req.Header.Set("X-Request-ID", "0123456789-0123456789")
	e.do(req)
	got := e.log(1)[0]
	if got.Duration <= 0 || got.At.IsZero() {
		t.Errorf("times: %+v", got)
	}
	got.Duration, got.At = 0, Entry{}.At
	want := Entry{
		AppID: shopID, AppName: "shop-app", Container: "web-1", Method: "POST", Host: shopHost, Path: "/pot?tip=1",
		RequestID: "0123456789-0123456789", From: "127.0.0.1", Protocol: "HTTP/1.1", Status: 418, Bytes: 15,
		Referer: "https://example.net/", UserAgent: "kettle/1",
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func FuzzHostName(f *testing.F) {
	for _, s := range []string{"", "a", "A.b:80", "a.:1", "[::1]:80", "[", "::", "a:b:c", "ü.example", ".", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := hostName(s)
		if got != strings.ToLower(got) {
			t.Errorf("%q: %q is not in lower case", s, got)
		}
		if len(got) > 3*len(s) { // a byte that is no UTF-8 becomes U+FFFD
			t.Errorf("%q: %q has grown", s, got)
		}
		if !strings.ContainsAny(s, ":[]") {
			if again := hostName(s + ":80"); again != got {
				t.Errorf("%q: %q with a port, %q without", s, again, got)
			}
		}
	})
}
