package buildpacks

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startSite serves dir with the static buildpack's server on 127.0.0.1 and
// returns its address.
func startSite(t *testing.T, dir string) (address string, server *exec.Cmd) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("the server of static sites needs python3")
	}
	if err := exec.Command(python, "-c", "import hashlib; hashlib.file_digest").Run(); err != nil {
		t.Skip("the server of static sites needs Python 3.11 or newer, which the stack has")
	}
	// The server takes its port from the platform, so find a free one. Another
	// process may take it in between; then the server says so and we try again.
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address = l.Addr().String()
		_, port, _ := net.SplitHostPort(address)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python, "static/server.py", dir)
		cmd.Env = append(os.Environ(), "PORT="+port)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stdout)
		if line, _ := lines.ReadString('\n'); strings.HasPrefix(line, "serving ") {
			go func() { _, _ = io.Copy(io.Discard, lines) }()
			t.Cleanup(func() {
				if cmd.ProcessState == nil {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}
			})
			return address, cmd
		}
		_ = cmd.Wait()
	}
	t.Fatal("the server does not start")
	return "", nil
}

// ask sends a request whose path is not cleaned by any client.
func ask(t *testing.T, address, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	request := method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	for _, h := range headers {
		request += h + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func newSite(t *testing.T) string {
	t.Helper()
	parent := t.TempDir()
	site := filepath.Join(parent, "site")
	for name, content := range map[string]string{
		"site/index.html": "home", "site/docs/index.html": "docs", "site/app.js": "js", "site/data.bin": "0123456789",
		"site/name with ü.txt": "odd", "site/.env": "secret", "site/.git/config": "secret", "site/Procfile": "secret",
		"site/.well-known/security.txt": "contact", "site/listed/file": "x", "outside": "secret", "site-2/x": "secret",
	} {
		writeFile(t, filepath.Join(parent, name), content)
	}
	for name, target := range map[string]string{
		"out": "../outside", "abs": "/etc/passwd", "sibling": "../site-2/x", "hidden": ".env", "fine": "docs/index.html", "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(site, name)); err != nil {
			t.Fatal(err)
		}
	}
	return site
}

func TestStaticServer(t *testing.T) {
	address, _ := startSite(t, newSite(t))
	tests := []struct {
		method, path string
		headers      []string
		status       int
		body         string
		want         map[string]string
	}{
		{"GET", "/", nil, 200, "home", map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Content-Length": "4"}},
		{"GET", "/index.html?v=1", nil, 200, "home", nil},
		{"HEAD", "/", nil, 200, "", map[string]string{"Content-Length": "4"}},
		{"GET", "/docs/", nil, 200, "docs", nil},
		{"GET", "/docs?a=b", nil, 301, "moved to /docs/?a=b\n", map[string]string{"Location": "/docs/?a=b"}},
		{"GET", "//docs", nil, 301, "moved to /docs/\n", map[string]string{"Location": "/docs/"}},
		{"GET", "/app.js", nil, 200, "js", map[string]string{"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "public, max-age=300"}},
		{"GET", "/name%20with%20%C3%BC.txt", nil, 200, "odd", nil},
		{"GET", "/fine", nil, 200, "docs", nil},
		{"GET", "/.well-known/security.txt", nil, 200, "contact", nil},
		{"GET", "/nowhere", nil, 404, "not found\n", map[string]string{"Cache-Control": "no-cache"}},
		{"GET", "/listed/", nil, 404, "not found\n", nil},
		{"GET", "/listed", nil, 404, "not found\n", nil},
		{"GET", "/index.html/", nil, 404, "not found\n", nil},
		{"GET", "/.env", nil, 404, "not found\n", nil},
		{"GET", "/%2eenv", nil, 404, "not found\n", nil},
		{"GET", "/.git/config", nil, 404, "not found\n", nil},
		{"GET", "/Procfile", nil, 404, "not found\n", nil},
		{"GET", "/hidden", nil, 404, "not found\n", nil},
		{"GET", "/out", nil, 404, "not found\n", nil},
		{"GET", "/abs", nil, 404, "not found\n", nil},
		{"GET", "/sibling", nil, 404, "not found\n", nil},
		{"GET", "/loop", nil, 404, "not found\n", nil},
		{"GET", "/../outside", nil, 404, "not found\n", nil},
		{"GET", "/docs/../../outside", nil, 404, "not found\n", nil},
		{"GET", "/%2e%2e/outside", nil, 404, "not found\n", nil},
		{"GET", "/..%2foutside", nil, 404, "not found\n", nil},
		{"GET", "/%00", nil, 404, "not found\n", nil},
		{"GET", "/" + strings.Repeat("a", 5000), nil, 404, "not found\n", nil},
		{"POST", "/", nil, 405, "only GET and HEAD are served here\n", map[string]string{"Allow": "GET, HEAD"}},
		{"GET", "/data.bin", []string{"Range: bytes=2-4"}, 206, "234", map[string]string{"Content-Range": "bytes 2-4/10"}},
		{"GET", "/data.bin", []string{"Range: bytes=7-"}, 206, "789", map[string]string{"Content-Range": "bytes 7-9/10"}},
		{"GET", "/data.bin", []string{"Range: bytes=-2"}, 206, "89", nil},
		{"GET", "/data.bin", []string{"Range: bytes=8-99"}, 206, "89", nil},
		{"GET", "/data.bin", []string{"Range: bytes=10-"}, 416, "no such range\n", map[string]string{"Content-Range": "bytes */10"}},
		{"GET", "/data.bin", []string{"Range: bytes=-"}, 200, "0123456789", nil},
		{"GET", "/data.bin", []string{"Range: lines=1-2"}, 200, "0123456789", nil},
		{"GET", "/data.bin", []string{"Range: bytes=2-4", `If-Range: "other"`}, 200, "0123456789", nil},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path[:min(len(tt.path), 40)]+strings.Join(tt.headers, " "), func(t *testing.T) {
			res, body := ask(t, address, tt.method, tt.path, tt.headers...)
			if res.StatusCode != tt.status || body != tt.body {
				t.Errorf("got %d %q, want %d %q", res.StatusCode, body, tt.status, tt.body)
			}
			for name, want := range tt.want {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}

	first, _ := ask(t, address, "GET", "/app.js")
	again, body := ask(t, address, "GET", "/app.js", "If-None-Match: "+first.Header.Get("ETag"))
	if again.StatusCode != 304 || body != "" || first.Header.Get("ETag") == "" {
		t.Errorf("with its ETag %q: %d %q", first.Header.Get("ETag"), again.StatusCode, body)
	}
}

func TestStaticServerSends404Page(t *testing.T) {
	site := newSite(t)
	writeFile(t, filepath.Join(site, "404.html"), "sorry")
	address, _ := startSite(t, site)
	res, body := ask(t, address, "GET", "/nowhere", "Range: bytes=0-1")
	if res.StatusCode != 404 || body != "sorry" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
}

// A stop lets a request under way end, and does not wait for idle connections.
func TestStaticServerStopsGracefully(t *testing.T) {
	site := newSite(t)
	const size = 32 << 20 // more than the sockets' buffers take
	writeFile(t, filepath.Join(site, "big"), strings.Repeat("x", size))
	address, server := startSite(t, site)

	idle, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	res, err := http.Get("http://" + address + "/big") //nolint:noctx // the test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// The stop has begun when nothing new is accepted.
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err == nil {
			_ = conn.Close()
		}
		if time.Now().After(deadline) {
			t.Fatal("it still accepts connections")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n, err := io.Copy(io.Discard, res.Body); err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
