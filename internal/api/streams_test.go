package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/atollhq/atoll/internal/platform"
)

// dial opens a web socket with the odd origin that the command line sends.
func (s *server) dial(url string) *websocket.Conn {
	s.t.Helper()
	if strings.HasPrefix(url, "http") {
		url = "ws" + strings.TrimPrefix(url, "http")
	}
	conn, _, err := websocket.Dial(s.t.Context(), url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://scalingo-cli.local/1.48.0"}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.CloseNow() })
	return conn
}

func (s *server) write(conn *websocket.Conn, text string) {
	s.t.Helper()
	if err := conn.Write(s.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// frame reads the next frame that is no ping.
func (s *server) frame(conn *websocket.Conn) reply {
	s.t.Helper()
	for {
		a := s.anyFrame(conn)
		m := a.json.(map[string]any)
		if m["type"] != "ping" && m["event"] != "ping" {
			return a
		}
	}
}

func (s *server) anyFrame(conn *websocket.Conn) reply {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	_, b, err := conn.Read(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	a := reply{t: s.t, text: string(b)}
	if err := json.Unmarshal(b, &a.json); err != nil {
		s.t.Fatalf("frame is no JSON: %s", b)
	}
	return a
}

func TestDeploymentsStreamReplaysThenGoesOn(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	d, err := s.store.CreateDeployment(t.Context(), s.ada, app.ID, "v1", "source")
	if err != nil {
		t.Fatal(err)
	}
	// All of this is before the client connects, as in a quick build.
	s.streams.add("new", d, "")
	s.streams.add("log", platform.Deployment{ID: d.ID, AppID: app.ID}, "-----> Building <html>\n")
	s.streams.add("status", platform.Deployment{ID: d.ID, AppID: app.ID, Status: platform.DeploymentBuilding}, "")

	url := s.ask("GET", "/v1/apps/some-app", "", 200).at("app", "links", "deployments_stream").(string)
	conn := s.dial(url)
	s.write(conn, `{"type":"auth","data":{"token":"`+s.adaJWT+`"}}`)
	a := s.frame(conn)
	a.want("new", "type")
	a.want(d.ID, "data", "deployment", "id")
	a.want("ada", "data", "deployment", "pusher", "username") // clients crash without a pusher
	a.at("data", "deployment", "links", "output")
	a = s.frame(conn)
	a.want("log", "type")
	a.want(d.ID, "id")
	a.want("-----> Building <html>\n", "data", "content")
	a = s.frame(conn)
	a.want("status", "type")
	a.want(d.ID, "id")
	a.want("building", "data", "status")

	s.streams.add("status", platform.Deployment{ID: d.ID, AppID: app.ID, Status: platform.DeploymentSuccess}, "")
	s.frame(conn).want("success", "data", "status")
}

func TestDeploymentsStreamRefuses(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	for name, first := range map[string]string{
		"a bad token":      `{"type":"auth","data":{"token":"x.y.z"}}`,
		"an API token":     `{"type":"auth","data":{"token":"` + s.adaToken + `"}}`,
		"another's token":  `{"type":"auth","data":{"token":"` + s.bobJWT + `"}}`,
		"no auth":          `{"type":"hello","data":{}}`,
		"what is no JSON":  `hello`,
		"a frame too long": strings.Repeat(" ", maxFrame+1),
	} {
		conn := s.dial(s.URL + "/v1/apps/" + app.ID + "/deployments/stream")
		s.write(conn, first)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, b, err := conn.Read(ctx)
		cancel()
		if err == nil {
			t.Errorf("%s was answered with %s", name, b)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
	}
	if a := s.send(call{method: "GET", path: "/v1/apps/some-app/deployments/stream"}); a.status != 400 {
		t.Errorf("without an upgrade it answered %d", a.status)
	}
}

func TestStreamsPing(t *testing.T) {
	s := newServer(t, func(c *Config) { c.PingEvery = time.Millisecond })
	app := s.createApp("some-app")
	conn := s.dial(s.URL + "/v1/apps/" + app.ID + "/deployments/stream")
	s.write(conn, `{"type":"auth","data":{"token":"`+s.adaJWT+`"}}`)
	a := s.anyFrame(conn)
	a.want("ping", "type")
	a.at("data")
	conn = s.dial(s.logsURL("some-app") + "&stream=true")
	a = s.anyFrame(conn)
	a.want("ping", "event")
	a.want("ping", "name")
}

func TestCloseEndsStreamsInOrder(t *testing.T) {
	s := newServer(t)
	s.createApp("some-app")
	conn := s.dial(s.logsURL("some-app") + "&stream=true")
	if err := s.logs.awaitFollowers(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.api.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the client sees %v, want going away", err)
	}
	if err := s.logs.awaitFollowers(ctx, 0); err != nil {
		t.Error("the follower still runs")
	}
}

func (s *server) logsURL(app string) string {
	s.t.Helper()
	a := s.ask("GET", "/v1/apps/"+app+"/logs", "", 200)
	a.want(app, "app", "name")
	url := a.at("logs_url").(string)
	if !strings.Contains(url, "?token=") { // clients glue "&stream=true" to it
		s.t.Errorf("logs_url %s has no query", url)
	}
	return url
}

const someLine = "2026-01-02 15:04:05.123456789 +0000 UTC [web-1] Listening  on 8080\n"

func TestLogsDump(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	url := s.logsURL("some-app")
	if a := s.send(call{method: "GET", path: url + "&n=20"}); a.status != 204 {
		t.Errorf("no lines answered %d", a.status)
	}
	s.logs.add(app.ID, "earlier\n")
	s.logs.add(app.ID, someLine)
	a := s.send(call{method: "GET", path: url + "&n=1&filter=web|worker&timestamp=x"})
	if a.status != 200 || a.text != someLine || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("answered %d %q", a.status, a.text)
	}
	if s.logs.filter != "web|worker" {
		t.Errorf("filter arrived as %q", s.logs.filter)
	}
	if a := s.send(call{method: "GET", path: url}); a.text != "earlier\n"+someLine {
		t.Errorf("without n: %q", a.text)
	}
	if a := s.send(call{method: "GET", path: url + "&n=0"}); a.status != 204 {
		t.Errorf("n=0 answered %d", a.status)
	}
	for _, n := range []string{"-1", "x", "10001"} {
		if a := s.send(call{method: "GET", path: url + "&n=" + n}); a.status != 422 {
			t.Errorf("n=%s answered %d", n, a.status)
		}
	}
	other := s.createApp("other-app")
	if a := s.send(call{method: "GET", path: strings.Replace(url, app.ID, other.ID, 1)}); a.status != 401 {
		t.Errorf("the token of another app answered %d", a.status)
	}
}

func TestLogsFollowOverAWebSocket(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	// The command line does not escape the filter here.
	conn := s.dial(s.logsURL("some-app") + "&stream=true&filter=web|worker")
	if err := s.logs.awaitFollowers(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.logs.add(app.ID, someLine)
	a := s.frame(conn)
	a.want("log", "event")
	a.want("log", "name")
	a.want(someLine, "log")
	a.wantDate("timestamp")
	if s.logs.filter != "web|worker" {
		t.Errorf("filter arrived as %q", s.logs.filter)
	}
	// A client that goes away ends its follower.
	conn.CloseNow()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.logs.awaitFollowers(ctx, 0); err != nil {
		t.Error("the follower of a client that is gone still runs")
	}
}

func TestLogsFollowAsServerSentEvents(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", s.logsURL("some-app")+"&stream=true", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type is %q", got)
	}
	if err := s.logs.awaitFollowers(ctx, 1); err != nil {
		t.Fatal(err)
	}
	s.logs.add(app.ID, someLine)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData || strings.Contains(data, `"ping"`) {
			continue
		}
		a := reply{t: t, text: data}
		if err := json.Unmarshal([]byte(data), &a.json); err != nil {
			t.Fatal(err)
		}
		a.want(someLine, "log")
		return
	}
	t.Errorf("the stream ended: %v", lines.Err())
}
