package router

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// rewrite sets the headers that containers get (RT-18 to RT-20). Host and
// query go through as the client sent them.
func (r *Router) rewrite(pr *httputil.ProxyRequest) {
	in, h := pr.In, pr.Out.Header
	ex := exchangeOf(in)
	pr.Out.URL.RawQuery = in.URL.RawQuery
	dropOrigin(h)

	peer := peerOf(in)
	trusted := r.trusts(peer)
	client, chain := peer.String(), peer.String()
	proto, port := "http", localPort(in)
	if in.TLS != nil {
		proto = "https"
	}
	if trusted {
		if prior := strings.Join(in.Header.Values("X-Forwarded-For"), ", "); prior != "" {
			client, chain = r.clientIn(prior, peer), prior+", "+chain
		}
		if p := strings.ToLower(in.Header.Get("X-Forwarded-Proto")); p == "http" || p == "https" {
			proto = p
		}
		if p, err := strconv.ParseUint(in.Header.Get("X-Forwarded-Port"), 10, 16); err == nil {
			port = strconv.FormatUint(p, 10)
		}
		if v := in.Header.Get("X-Forwarded-Host"); v != "" {
			h.Set("X-Forwarded-Host", v)
		}
	}
	h.Set("X-Forwarded-For", chain)
	h.Set("X-Real-Ip", client)
	h.Set("X-Forwarded-Proto", proto)
	h.Set("X-Forwarded-Port", port)
	h.Set("X-Request-Id", ex.requestID)
	h.Set("X-Request-Start", requestStart(ex.started))
}

// dropOrigin removes every header that speaks of where a request came from,
// or that the router sets itself. Frameworks after the CGI model take "_"
// for "-", so X_Forwarded_For is dropped like X-Forwarded-For.
func dropOrigin(h http.Header) {
	for name := range h {
		switch n := textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-")); {
		case strings.HasPrefix(n, "X-Forwarded-"),
			n == "Forwarded", n == "X-Real-Ip", n == "X-Request-Id", n == "X-Request-Start":
			delete(h, name)
		}
	}
}

// clientIn finds the client in a chain of X-Forwarded-For: the last address
// that is no trusted proxy.
func (r *Router) clientIn(chain string, peer netip.Addr) string {
	hops := strings.Split(chain, ",")
	client := peer
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		client = hop.Unmap()
		if !r.trusts(client) {
			break
		}
	}
	return client.String()
}

func (r *Router) trusts(peer netip.Addr) bool {
	for _, p := range r.cfg.TrustedProxies {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// peerOf is the address that the connection of req comes from.
func peerOf(req *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return netip.IPv4Unspecified()
	}
	return ap.Addr().Unmap().WithZone("")
}

// localPort is the port the client connected to.
func localPort(req *http.Request) string {
	if addr, ok := req.Context().Value(http.LocalAddrContextKey).(interface{ AddrPort() netip.AddrPort }); ok {
		return strconv.Itoa(int(addr.AddrPort().Port()))
	}
	if req.TLS != nil {
		return "443"
	}
	return "80"
}

// requestID keeps a well-formed id of the client and makes one otherwise
// (RT-19).
func requestID(given string) string {
	if len(given) < 20 || len(given) > 128 {
		return uuid.NewString()
	}
	for _, c := range []byte(given) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+=/-", c) >= 0) {
			return uuid.NewString()
		}
	}
	return given
}

// requestStart is when the router got the request, in seconds with
// milliseconds (RT-20).
func requestStart(t time.Time) string {
	return fmt.Sprintf("t=%d.%03d", t.Unix(), t.Nanosecond()/1e6)
}

// checkHeaders applies rule RT-5.
func (l Limits) checkHeaders(h http.Header) *fault {
	total := 0
	for name, values := range h {
		for _, v := range values {
			size := len(name) + len(v) + len(": \r\n")
			if total += size; size > l.Header || total > l.Headers {
				return faultHeaders
			}
		}
	}
	return nil
}
