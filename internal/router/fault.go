package router

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"strings"
)

// fault is an answer that the router makes itself.
type fault struct {
	status int
	// code is the value of X-Scalingo-Error, for machines.
	code string
	// title says what happened, owner what the owner of the app can do.
	title string
	owner string
}

// The faults there are (RT-27 to RT-32).
var (
	faultUnknownHost = &fault{http.StatusNotFound, "unknown-host", "There is no app at this address.",
		"Check the spelling of the host name. If it is yours, list the app's addresses with \"atoll domains\"."}
	faultNotDeployed = &fault{http.StatusServiceUnavailable, "not-deployed", "This app has not been deployed yet.",
		"Deploy it with \"atoll deploy\"."}
	faultStopped = &fault{http.StatusServiceUnavailable, "no-web-container", "This app has no web container.",
		"If it should answer here, start one with \"atoll scale web:1\". Its other process types are reached over the private network only."}
	faultNotReady = &fault{http.StatusServiceUnavailable, "no-web-container-ready", "This app is not ready to answer.",
		"Its web containers are starting or have crashed: see \"atoll ps\" and \"atoll logs\". They must listen on 0.0.0.0 and the port in $PORT."}
	faultQueueFull = &fault{http.StatusServiceUnavailable, "queue-full", "This app has more requests waiting than it can take.",
		"Add web containers with \"atoll scale\", or make slow requests faster."}
	faultQuarantined = &fault{http.StatusBadGateway, "all-containers-in-quarantine", "This app refuses connections.",
		"All its web containers refused or cut connections a moment ago; they are tried again shortly. See \"atoll logs\"."}
	faultCut = &fault{http.StatusBadGateway, "connection-cut", "This app did not give a valid answer.",
		"It cut the connection or sent something that is not HTTP, often because it crashed: see \"atoll logs\"."}
	faultTimeout = &fault{http.StatusGatewayTimeout, "timeout", "This app took too long to answer.",
		"An answer must begin within 30 s, and never pause for more than 60 s. Move long work to another process type."}
	faultTooLarge = &fault{http.StatusRequestEntityTooLarge, "body-too-large", "The body of the request is too large.",
		"At most 75 MB are accepted in one request. Upload larger files in parts or directly to an object storage."}
	faultHeaders = &fault{http.StatusRequestHeaderFieldsTooLarge, "headers-too-large", "The headers of the request are too large.",
		"At most 32 kB in all and 8 kB for one are accepted; large cookies are the usual reason."}
	faultSlowClient = &fault{http.StatusRequestTimeout, "client-timeout", "The request did not arrive in time.",
		"The client sent nothing for 60 s in the middle of a request."}
	faultMethod = &fault{http.StatusMethodNotAllowed, "method-not-allowed", "CONNECT and TRACE are not accepted.",
		"Use another method."}
	faultBadRequest = &fault{http.StatusBadRequest, "bad-request", "The request could not be read.",
		"Its body is not what its headers announce."}
)

// Error makes faults usable as errors inside the proxy.
func (f *fault) Error() string { return f.title }

// faultOf says what an error of the proxy means for the client; nil when the
// client has left.
func faultOf(ctx context.Context, ex *exchange, err error) *fault {
	var f *fault
	var tooLarge *http.MaxBytesError
	body := ex.body.failure()
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(body, &tooLarge):
		return faultTooLarge
	case errors.Is(body, os.ErrDeadlineExceeded):
		return faultSlowClient
	case ctx.Err() != nil:
		return nil
	case body != nil:
		return faultBadRequest
	case isTimeout(err):
		return faultTimeout
	default:
		return faultCut
	}
}

//go:embed fault.html
var files embed.FS

var page = template.Must(template.ParseFS(files, "fault.html"))

// write sends the fault in the form that the client asks for.
func (f *fault) write(w http.ResponseWriter, req *http.Request, requestID string) {
	h := w.Header()
	h.Set("X-Scalingo-Error", f.code)
	h.Set("X-Request-Id", requestID)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if f.status == http.StatusRequestEntityTooLarge || f.status == http.StatusRequestTimeout {
		// The rest of the body would have to be read first.
		h.Set("Connection", "close")
	}
	var body strings.Builder
	switch accepted(req.Header.Get("Accept")) {
	case "html":
		h.Set("Content-Type", "text/html; charset=utf-8")
		err := page.Execute(&body, map[string]any{
			"Status": f.status, "Text": http.StatusText(f.status), "Title": f.title, "Owner": f.owner, "RequestID": requestID,
		})
		if err != nil {
			panic(fmt.Sprintf("router: error page: %v", err)) // the template is part of the program
		}
	case "json":
		h.Set("Content-Type", "application/json; charset=utf-8")
		text, err := json.Marshal(map[string]any{
			"status": f.status, "error": f.code, "message": f.title, "owner": f.owner, "request_id": requestID,
		})
		if err != nil {
			panic(fmt.Sprintf("router: error body: %v", err)) // strings and a number
		}
		body.Write(append(text, '\n'))
	default:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(&body, "%d %s: %s\n%s\nRequest: %s\n", f.status, http.StatusText(f.status), f.title, f.owner, requestID)
	}
	w.WriteHeader(f.status)
	// A client that left does not read it; nobody else wants to know.
	_, _ = w.Write([]byte(body.String()))
}

// accepted picks html, json or text: what an Accept header names first.
func accepted(accept string) string {
	for part := range strings.SplitSeq(accept, ",") {
		kind, _, _ := strings.Cut(part, ";")
		switch kind = strings.ToLower(strings.TrimSpace(kind)); {
		case kind == "text/html", kind == "application/xhtml+xml":
			return "html"
		case kind == "application/json", strings.HasSuffix(kind, "+json"):
			return "json"
		case kind == "text/plain":
			return "text"
		}
	}
	return "text"
}
