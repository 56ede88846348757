package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/oneoff/oneofftest"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// deployedApp makes an app that has a release.
func (s *server) deployedApp(name string) platform.App {
	s.t.Helper()
	app := s.createApp(name)
	r := platform.Release{ID: platform.NewID(), AppID: app.ID, DeploymentID: "d", Image: "image:1", Version: "v1", Commands: map[string]string{"web": "x"}}
	if err := s.store.Commit(s.t.Context(), app.ID, &store.Change{Release: &r, Current: true, User: s.ada}); err != nil {
		s.t.Fatal(err)
	}
	return app
}

// runAttached asks for an attached one-off and returns its attach_url.
func (s *server) runAttached(app, body string) string {
	s.t.Helper()
	a := s.ask("POST", "/v1/apps/"+app+"/run", body, 200)
	op := s.send(call{method: "GET", path: a.at("operation_url").(string), bearer: s.adaJWT})
	op.want("done", "operation", "status")
	op.want("start-one-off", "operation", "type")
	op.want(a.at("container", "id"), "operation", "start_one_off_data", "container_id")
	return op.at("operation", "start_one_off_data", "attach_url").(string)
}

// attach connects as clients do: CONNECT with the path of the URL.
func (s *server) attach(attachURL, jwt string) (*net.TCPConn, *bufio.Reader, int) {
	s.t.Helper()
	u, err := url.Parse(attachURL)
	if err != nil || u.Port() == "" {
		s.t.Fatalf("attach_url %q has no port (%v)", attachURL, err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\n\r\n", u.Path, u.Host,
		base64.StdEncoding.EncodeToString([]byte(":"+jwt)))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		s.t.Fatal(err)
	}
	return conn.(*net.TCPConn), r, resp.StatusCode
}

func TestADetachedRunAnswersWithItsLabel(t *testing.T) {
	s := newServer(t)
	app := s.deployedApp("some-app")
	s.engine.Program = func(ctx context.Context, _ oneofftest.Process) int { <-ctx.Done(); return 143 }
	a := s.ask("POST", "/v1/apps/some-app/run", `{"command":"bin/work --all","env":{"TERM":"xterm"},"size":"L","detached":true,"has_uploads":false}`, 200)
	a.want("one-off-1", "container", "label")
	a.want("bin/work --all", "container", "command")
	a.want("L", "container", "container_size", "name")
	a.wantDate("container", "created_at")
	id := a.at("container", "id").(string)
	if !strings.HasSuffix(a.at("operation_url").(string), a.at("operation").(string)) {
		t.Errorf("operation %s is not the end of %s", a.at("operation"), a.at("operation_url"))
	}
	ps := s.ask("GET", "/v1/apps/some-app/ps", "", 200)
	ps.want("one-off-1", "containers", 0, "label")
	ps.want(id, "containers", 0, "id")
	if e := s.engine.Started()[0].Workload; e.Env["TERM"] != "xterm" || e.AppID != app.ID {
		t.Errorf("the engine got %+v", e)
	}
	s.ask("POST", "/v1/apps/some-app/containers/"+id+"/stop", "{}", 202)
	end := s.send(call{method: "GET", path: "/v1/one-offs/" + id + "/wait", basic: []string{"", s.adaJWT}})
	if end.status != 200 {
		t.Fatalf("wait answered %d %s", end.status, end.text)
	}
	end.want(143., "exit_code")
	if reason := end.header.Get("X-Atoll-Reason"); reason != "it was stopped by ada" {
		t.Errorf("the reason is %q", reason)
	}
	s.ask("POST", "/v1/apps/some-app/containers/nothing/stop", "{}", 404).want("container", "resource")
}

func TestWhatRunRefuses(t *testing.T) {
	s := newServer(t)
	s.createApp("some-app")
	s.ask("POST", "/v1/apps/some-app/run", `{"command":"x"}`, 409)
	s.deployedApp("other-app")
	s.ask("POST", "/v1/apps/other-app/run", `{"command":""}`, 422).at("errors", "command", 0)
	s.ask("POST", "/v1/apps/other-app/run", `{"command":"x","size":"XXS"}`, 422).at("errors", "size", 0)
	s.ask("POST", "/v1/apps/other-app/run", `{"command":["x"]}`, 400)
}

func TestAnAttachedRunIsARawPipeBothWays(t *testing.T) {
	s := newServer(t)
	s.deployedApp("some-app")
	s.engine.Program = func(_ context.Context, p oneofftest.Process) int {
		size := <-p.Resized
		fmt.Fprintf(p.Out, "size %v\r\n", size)
		line, _ := bufio.NewReader(p.In).ReadString(4)
		fmt.Fprintf(p.Out, "got %q", line)
		return 3
	}
	attachURL := s.runAttached("some-app", `{"command":"bash","env":{"TERM":"xterm"},"size":"M","detached":false}`)
	began := time.Now()
	conn, r, status := s.attach(attachURL, s.adaJWT)
	if status != 200 {
		t.Fatalf("CONNECT answered %d", status)
	}
	for len(s.engine.Started()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if d := time.Since(began); d < attachPause {
		t.Errorf("it began after %v: a client that is not swift would lose output", d)
	}
	for _, body := range []string{`{"width":"120","height":"40"}`} {
		if a := s.send(call{method: "PUT", path: attachURL, body: body, basic: []string{"", s.adaJWT}}); a.status != 200 {
			t.Fatalf("PUT answered %d %s", a.status, a.text)
		}
	}
	if line, err := r.ReadString('\n'); line != "size [120 40]\r\n" {
		t.Fatalf("got %q, error %v", line, err)
	}
	first := time.Now()
	if _, err := conn.Write([]byte("keys\x03\x04")); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || string(rest) != `got "keys\x03\x04"` {
		t.Errorf("got %q, error %v", rest, err)
	}
	if d := time.Since(first); d < endPause-50*time.Millisecond {
		t.Errorf("the connection was closed %v after the first output: clients may crash", d)
	}
	end := s.send(call{method: "GET", path: attachURL + "/wait", basic: []string{"", s.adaJWT}})
	end.want(3., "exit_code")
	if _, _, status := s.attach(attachURL, s.adaJWT); status != 409 {
		t.Errorf("a second client got %d, want 409", status)
	}
}

func TestASwiftClientSendsEverythingAndGetsEverything(t *testing.T) {
	s := newServer(t)
	s.deployedApp("some-app")
	s.engine.Program = func(_ context.Context, p oneofftest.Process) int {
		if p.Attached.Terminal {
			return 1
		}
		n, _ := io.Copy(p.Out, p.In)
		return int(n >> 20)
	}
	conn, r, status := s.attach(s.runAttached("some-app", `{"command":"cat","atoll":{"terminal":false}}`), s.adaJWT)
	if status != 200 {
		t.Fatalf("CONNECT answered %d", status)
	}
	data := bytes.Repeat([]byte("0123456789\x04abcde"), 3<<16) // 3 MiB
	go func() {
		_, _ = conn.Write(data)
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes came back, error %v", len(got), len(data), err)
	}
	conn.Close()
}

func TestAClientThatIsGoneEndsItsOneOff(t *testing.T) {
	s := newServer(t)
	s.deployedApp("some-app")
	ended := make(chan struct{})
	s.engine.Program = func(ctx context.Context, _ oneofftest.Process) int { <-ctx.Done(); close(ended); return 129 }
	conn, _, _ := s.attach(s.runAttached("some-app", `{"command":"bash"}`), s.adaJWT)
	for len(s.engine.Started()) == 0 {
		time.Sleep(time.Millisecond)
	}
	conn.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}

// TestAClientThatIsGoneAfterItsInputEndsItsOneOff: the end of the input alone is
// none of the client.
func TestAClientThatIsGoneAfterItsInputEndsItsOneOff(t *testing.T) {
	s := newServer(t)
	s.deployedApp("some-app")
	closed, ended := make(chan struct{}), make(chan struct{})
	s.engine.Program = func(ctx context.Context, p oneofftest.Process) int {
		_, _ = io.Copy(io.Discard, p.In)
		close(closed)
		<-ctx.Done()
		close(ended)
		return 143
	}
	conn, _, _ := s.attach(s.runAttached("some-app", `{"command":"sleep 3600","atoll":{"terminal":false}}`), s.adaJWT)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-closed
	select {
	case <-ended:
		t.Fatal("the end of the input ended it")
	case <-time.After(2 * peerCheck):
	}
	// What its machine answers to a probe for a connection that it forgot.
	if err := conn.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}

// TestAClientThatDoesNotReadIsLetGo: else each of them would keep a connection
// and its goroutines for ever.
func TestAClientThatDoesNotReadIsLetGo(t *testing.T) {
	s := newServer(t)
	s.deployedApp("some-app")
	s.engine.Failure = "the private network is full"
	attachURL := s.runAttached("some-app", `{"command":"x"}`)
	id := path.Base(attachURL)
	attached, err := s.api.OneOffs.Claim(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	client, conn := net.Pipe() // it takes nothing that is not read
	defer client.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		one := &session{api: s.api, id: id, conn: conn, from: bufio.NewReader(conn), client: attached, touched: make(chan struct{})}
		one.serve()
	}()
	if _, err := http.ReadResponse(bufio.NewReaderSize(client, 16), &http.Request{Method: http.MethodConnect}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-served:
	case <-time.After(4 * drainTime):
		t.Fatal("the session goes on")
	}
}

func TestTheServersOwnWordIsNotTooSoonBeforeTheEnd(t *testing.T) {
	s := newServer(t)
	s.deployedApp("some-app")
	s.engine.Failure = "the private network is full"
	_, r, _ := s.attach(s.runAttached("some-app", `{"command":"x"}`), s.adaJWT)
	if _, err := r.ReadByte(); err != nil {
		t.Fatal(err)
	}
	first := time.Now()
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), "the private network is full") {
		t.Errorf("got %q, error %v", rest, err)
	}
	if d := time.Since(first); d < endPause-50*time.Millisecond {
		t.Errorf("the connection was closed %v after the first output: clients may crash", d)
	}
}

func TestASilentOneOffIsEndedAndWaitSaysSo(t *testing.T) {
	s := newServer(t, func(c *Config) { c.Idle = 100 * time.Millisecond })
	s.deployedApp("some-app")
	s.engine.Program = func(ctx context.Context, _ oneofftest.Process) int { <-ctx.Done(); return 143 }
	attachURL := s.runAttached("some-app", `{"command":"bash"}`)
	_, r, _ := s.attach(attachURL, s.adaJWT)
	text, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(text), "nothing happened for 100ms") {
		t.Errorf("got %q, error %v", text, err)
	}
	if a := s.send(call{method: "GET", path: attachURL + "/wait", basic: []string{"", s.adaJWT}}); a.status != 408 {
		t.Errorf("wait answered %d %s, want 408", a.status, a.text)
	}
}

func TestFilesAreUploadedBeforeAttaching(t *testing.T) {
	s := newServer(t)
	s.deployedApp("some-app")
	s.engine.Program = func(_ context.Context, p oneofftest.Process) int {
		content, err := os.ReadFile(filepath.Join(p.Mounts[0].Source, "dump.sql"))
		fmt.Fprintf(p.Out, "%s %v", content, err)
		return 0
	}
	attachURL := s.runAttached("some-app", `{"command":"x","atoll":{"terminal":false}}`)
	form := func(field, name, content string) reply {
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		part, _ := w.CreateFormFile(field, name)
		_, _ = part.Write([]byte(content))
		w.Close()
		return s.send(call{method: "POST", path: attachURL + "/files", body: body.String(), basic: []string{"", s.adaJWT},
			header: map[string]string{"Content-Type": w.FormDataContentType()}})
	}
	if a := form("file", "../dump.sql", "insert"); a.status != 200 { // the path is dropped
		t.Fatalf("the upload answered %d %s", a.status, a.text)
	}
	if a := form("other", "x", ""); a.status != 400 {
		t.Errorf("another field answered %d %s", a.status, a.text)
	}
	if a := s.send(call{method: "POST", path: attachURL + "/files", body: "{}", basic: []string{"", s.adaJWT}}); a.status != 400 {
		t.Errorf("no form answered %d %s", a.status, a.text)
	}
	_, r, _ := s.attach(attachURL, s.adaJWT)
	if text, _ := io.ReadAll(r); string(text) != "insert <nil>" {
		t.Errorf("the container sees %q", text)
	}
}

func TestOneOffsOfOthersDoNotExist(t *testing.T) {
	s := newServer(t)
	s.deployedApp("some-app")
	attachURL := s.runAttached("some-app", `{"command":"x"}`)
	if _, _, status := s.attach(attachURL, s.bobJWT); status != 404 {
		t.Errorf("CONNECT answered %d to bob", status)
	}
	if _, _, status := s.attach(attachURL, "nonsense"); status != 401 {
		t.Errorf("CONNECT answered %d to nobody", status)
	}
	if _, _, status := s.attach(s.URL+"/v1/apps", s.adaJWT); status != 404 {
		t.Errorf("CONNECT elsewhere answered %d", status)
	}
	for _, c := range []call{{method: "PUT", path: attachURL, body: `{"width":"1","height":"1"}`}, {method: "POST", path: attachURL + "/files"}, {method: "GET", path: attachURL + "/wait"}} {
		c.basic = []string{"", s.bobJWT}
		if a := s.send(c); a.status != 404 {
			t.Errorf("%s %s answered %d to bob", c.method, c.path, a.status)
		}
		c.basic = []string{"ada", s.adaJWT}
		if a := s.send(c); a.status != 401 {
			t.Errorf("%s %s answered %d with a user name", c.method, c.path, a.status)
		}
	}
	if a := s.send(call{method: "PUT", path: attachURL, body: `{"width":"0","height":"x"}`, basic: []string{"", s.adaJWT}}); a.status != 400 {
		t.Errorf("no size answered %d", a.status)
	}
}

func TestSignalsOfUsers(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	s.ask("POST", "/v1/apps/some-app/containers/c1/kill", `{"signal":"SIGUSR1"}`, 204)
	if len(s.control.killed) != 1 || s.control.killed[0] != app.ID+" c1 SIGUSR1" {
		t.Errorf("asked for %q", s.control.killed)
	}
	s.ask("POST", "/v1/apps/some-app/containers/c1/kill", `{"signal":"SIGHUP"}`, 422).at("errors", "signal", 0)
}

func TestStopOfAContainerOfTheFormationIsRefused(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	s.roster.Put(platform.Instance{ID: "c2", AppID: app.ID, Type: "web", Kind: platform.KindApp, Number: 1, State: platform.InstanceRunning})
	a := s.ask("POST", "/v1/apps/some-app/containers/c2/stop", "{}", 409)
	if !strings.Contains(a.at("error").(string), "scale web") {
		t.Errorf("the error does not help: %s", a.text)
	}
}

func TestScheduledTasksAreListed(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	s.ask("GET", "/v1/apps/some-app/cron_tasks", "", 200).at("jobs")
	jobs := []platform.Job{{Schedule: "*/10 * * * *", Command: "bin/purge --all", Size: "L"}}
	if err := s.store.Commit(t.Context(), app.ID, &store.Change{Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	a := s.ask("GET", "/v1/apps/some-app/cron_tasks", "", 200)
	a.want("*/10 * * * * bin/purge --all", "jobs", 0, "command")
	a.want("L", "jobs", 0, "size")
	a.want(nil, "jobs", 0, "last_execution_date")
	a.wantDate("jobs", 0, "next_execution_date")
}
