package lab

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
)

// Echo is what the host on the internet answers to every HTTP request, as
// JSON: what it saw.
type Echo struct {
	Source string      `json:"source"` // address and port the request came from
	Method string      `json:"method"`
	Host   string      `json:"host"`
	Path   string      `json:"path"`
	Header http.Header `json:"header"`
	Body   string      `json:"body"` // at most 1 MiB
}

func serveEcho(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	err = json.NewEncoder(w).Encode(Echo{
		Source: r.RemoteAddr, Method: r.Method, Host: r.Host, Path: r.URL.Path, Header: r.Header, Body: string(body),
	})
	if err != nil {
		slog.Warn("The lab's echo cannot answer", "to", r.RemoteAddr, "err", err)
	}
}
