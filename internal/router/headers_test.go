package router

import (
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// received sends a request with headers and returns what the container got.
func received(t *testing.T, e *edge, headers ...string) http.Header {
	t.Helper()
	req := e.request(http.MethodGet, "/a%2Fb?x=1;y=%zz&z", nil)
	for i := 0; i < len(headers); i += 2 {
		req.Header[headers[i]] = append(req.Header[headers[i]], headers[i+1])
	}
	e.do(req)
	return <-seen
}

var seen = make(chan http.Header, 1)

func record(_ http.ResponseWriter, r *http.Request) {
	h := r.Header.Clone()
	h.Set("Test-Host", r.Host)
	h.Set("Test-Uri", r.RequestURI)
	h.Set("Test-Proto", r.Proto)
	seen <- h
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestHeadersToTheContainer(t *testing.T) {
	e := newEdge(t)
	e.web(1, record)
	port := e.url[strings.LastIndexByte(e.url, ':')+1:]
	spoofed := []string{
		"X-Forwarded-For", "192.0.2.66", "X-Forwarded-Proto", "https", "X-Forwarded-Port", "443", "X-Real-Ip", "192.0.2.66",
		"X-Forwarded-Host", "evil", "X-Forwarded-Ssl", "on", "Forwarded", "for=192.0.2.66",
		"X_Forwarded_For", "192.0.2.66", "X-Real_Ip", "192.0.2.66", "X_forwarded-Proto", "https",
		"X-Request-Start", "t=0.000",
		"Connection", "X-Request-Id, X-Real-Ip, close", "Keep-Alive", "timeout=1", "Proxy-Authorization", "secret", "X-Mine", "kept",
	}
	for _, headers := range [][]string{nil, spoofed} {
		h := received(t, e, headers...)
		for name, want := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Port": port,
			"X-Forwarded-Host": "", "X-Forwarded-Ssl": "", "Forwarded": "", "X_Forwarded_For": "", "X-Real_Ip": "", "X_forwarded-Proto": "",
			"Keep-Alive": "", "Proxy-Authorization": "", "Accept-Encoding": "",
			"Test-Host": shopHost, "Test-Uri": "/a%2Fb?x=1;y=%zz&z", "Test-Proto": "HTTP/1.1",
		} {
			if got := strings.Join(h[name], ","); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		if !uuidForm.MatchString(h.Get("X-Request-Id")) {
			t.Errorf("X-Request-ID %q is no UUID", h.Get("X-Request-Id"))
		}
		if start := h.Get("X-Request-Start"); !regexp.MustCompile(`^t=\d{10}\.\d{3}$`).MatchString(start) {
			t.Errorf("X-Request-Start %q", start)
		}
		if headers != nil && h.Get("X-Mine") != "kept" {
			t.Error("an ordinary header was lost")
		}
	}
}

func TestTrustedProxiesMaySayWhoTheClientIs(t *testing.T) {
	e := newEdge(t, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.128/25")}
	})
	e.web(1, record)
	h := received(t, e, "X-Forwarded-For", "203.0.113.9, 198.51.100.7", "X-Forwarded-For", "192.0.2.200",
		"X-Forwarded-Proto", "HTTPS", "X-Forwarded-Port", "443", "X-Forwarded-Host", "public.example")
	for name, want := range map[string]string{
		"X-Forwarded-For": "203.0.113.9, 198.51.100.7, 192.0.2.200, 127.0.0.1", "X-Real-Ip": "198.51.100.7",
		"X-Forwarded-Proto": "https", "X-Forwarded-Port": "443", "X-Forwarded-Host": "public.example",
	} {
		if got := strings.Join(h[name], ","); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	h = received(t, e, "X-Forwarded-For", "nonsense", "X-Forwarded-Proto", "gopher", "X-Forwarded-Port", "99999")
	if h.Get("X-Real-Ip") != "127.0.0.1" || h.Get("X-Forwarded-Proto") != "http" || h.Get("X-Forwarded-Port") == "99999" {
		t.Errorf("nonsense of a trusted proxy was passed on: %v", h)
	}
}

func TestRequestIDs(t *testing.T) {
	for given, kept := range map[string]bool{
		"": false, strings.Repeat("a", 19): false, strings.Repeat("a", 20): true, strings.Repeat("Z9+=/-", 20): true,
		strings.Repeat("a", 128): true, strings.Repeat("a", 129): false, strings.Repeat("a", 20) + "_": false,
		strings.Repeat("a", 20) + " ": false, strings.Repeat("é", 15): false,
	} {
		got := requestID(given)
		if (got == given) != kept || !kept && !uuidForm.MatchString(got) {
			t.Errorf("%q became %q", given, got)
		}
	}
}

func TestHeaderLimits(t *testing.T) {
	e := newEdge(t)
	e.web(1, answers("one"))
	for why, c := range map[string]struct{ count, size, status int }{
		"one of 8000":  {1, 8000, 200},
		"one too long": {1, 8200, 431},
		"together":     {5, 7000, 431},
	} {
		req := e.request(http.MethodGet, "/", nil)
		for i := range c.count {
			req.Header.Set("X-Large-"+string(rune('a'+i)), strings.Repeat("x", c.size))
		}
		res, body := e.do(req)
		if res.StatusCode != c.status {
			t.Errorf("%s: %d %s", why, res.StatusCode, body)
		}
	}
}
