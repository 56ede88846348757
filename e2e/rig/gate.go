package rig

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/lab"
)

// gate is a place on the internet where builds wait until a test lets them
// go on: a custom buildpack, fetched by BUILDPACK_URL, that asks there.
type gate struct {
	url     string
	arrived chan string // what the build said of itself
	open    chan struct{}
	once    sync.Once
}

// NewGate makes a gate, and the app's builds wait there.
func NewGate(t testing.TB, a App) *gate {
	t.Helper()
	listener, err := a.Lab.ListenInternet("tcp4", lab.InternetAddr+":0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{url: "http://" + listener.Addr().String(), arrived: make(chan string, 1), open: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /buildpack.tar.gz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(Pack(t, g.buildpack())) // the build says if it is cut off
	})
	mux.HandleFunc("POST /", g.wait)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		g.Release()
		server.Close()
	})
	a.Must(t, "env", "set", "BUILDPACK_URL="+g.url+"/buildpack.tar.gz")
	return g
}

func (g *gate) wait(_ http.ResponseWriter, r *http.Request) {
	said, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	select {
	case g.arrived <- string(said):
	default: // nobody asked about the one before
	}
	select {
	case <-g.open:
	case <-r.Context().Done():
	}
}

// Await waits until a build is at the gate, and returns the addresses that it
// has.
func (g *gate) Await(t testing.TB) string {
	t.Helper()
	select {
	case said := <-g.arrived:
		return said
	case <-time.After(time.Minute):
		t.Fatal("no build came to the gate within a minute")
		return ""
	}
}

// Release lets all builds go on.
func (g *gate) Release() { g.once.Do(func() { close(g.open) }) }

func (g *gate) buildpack() []Entry {
	return []Entry{
		{Name: "gate/bin/detect", Content: "#!/bin/sh\necho Gate\n"},
		{Name: "gate/bin/compile", Content: fmt.Sprintf("#!/bin/sh\nset -e\necho 'at the gate'\nip -o -4 addr show >/tmp/addr\ncurl -fsS --max-time 600 --data-binary @/tmp/addr %s/\necho 'the gate is open'\n", g.url)},
		{Name: "gate/bin/release", Content: "#!/bin/sh\necho '--- {}'\n"},
	}
}

// Entry is one of an archive; a regular file unless kind says else.
type Entry struct {
	Name    string
	Kind    byte
	Link    string
	Content string
	Zeros   int64 // instead of a content
}

// Pack makes a gzip'd tar.
func Pack(t testing.TB, entries []Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	for _, e := range entries {
		header := &tar.Header{Name: e.Name, Typeflag: e.Kind, Linkname: e.Link, Mode: 0o755, Size: int64(len(e.Content)) + e.Zeros}
		if e.Kind == 0 {
			header.Typeflag = tar.TypeReg
		}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(archive, e.Content); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(archive, zeros{}, e.Zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
