package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/api/auth"
	"github.com/atollhq/atoll/internal/platform"
)

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (s *server) upload(url, body string) reply {
	s.t.Helper()
	return s.send(call{method: "PUT", path: url, body: body, header: map[string]string{"Content-Type": "application/x-gzip"}})
}

func TestUploadThenDeploy(t *testing.T) {
	s := newServer(t)
	app := s.createApp("some-app")
	source := s.ask("POST", "/v1/sources", "{}", 201)
	up, down := source.at("source", "upload_url").(string), source.at("source", "download_url").(string)
	deploy := func(status int) reply {
		return s.ask("POST", "/v1/apps/some-app/deployments", `{"deployment":{"git_ref":null,"source_url":"`+down+`"}}`, status)
	}
	deploy(422).at("errors", "source_url", 0) // nothing is there yet
	archive := gzipped(t, "content")
	if a := s.upload(up, archive); a.status != 200 {
		t.Fatalf("upload answered %d %s", a.status, a.text)
	}
	if a := s.upload(up, archive); a.status != 409 {
		t.Errorf("a second upload answered %d %s", a.status, a.text)
	}
	if a := s.send(call{method: "GET", path: down}); a.status != 200 || a.text != archive {
		t.Errorf("download answered %d with %d bytes", a.status, len(a.text))
	}
	a := deploy(201)
	if stored, err := os.ReadFile(SourcePath(s.sources, s.control.source)); err != nil || string(stored) != archive {
		t.Errorf("the deployment got source %q: %v", s.control.source, err)
	}
	a.want("queued", "deployment", "status")
	a.want(app.ID, "deployment", "app_id")
	a.want("", "deployment", "git_ref")
	a.want(s.ada.ID, "deployment", "pusher", "id")
	a.want("ada@example.test", "deployment", "pusher", "email")
	a.wantDate("deployment", "created_at")
	a.want(0., "deployment", "duration")
	id := a.at("deployment", "id").(string)
	a.want(s.URL+"/v1/apps/"+app.ID+"/deployments/"+id+"/output", "deployment", "links", "output")
	deploy(409).at("error") // one runs
	s.ask("GET", "/v1/apps/some-app/deployments/"+id, "", 200).want(id, "deployment", "id")
	s.ask("GET", "/v1/apps/some-app/deployments", "", 200).want(id, "deployments", 0, "id")
	s.ask("GET", "/v1/apps/some-app/deployments/nothing", "", 404).want("deployment", "resource")
	s.ask("GET", "/v1/apps/some-app/deployments/"+id+"/output", "", 404)
	s.streams.add("log", platform.Deployment{ID: id, AppID: app.ID}, "Building\n")
	out := s.ask("GET", "/v1/apps/some-app/deployments/"+id+"/output", "", 200)
	if out.text != "Building\n" || !strings.HasPrefix(out.header.Get("Content-Type"), "text/plain") {
		t.Errorf("output is %q, %s", out.text, out.header.Get("Content-Type"))
	}
	s.ask("DELETE", "/v1/apps/some-app/caches/deployment", "", 204)
}

func TestWhatUploadsRefuse(t *testing.T) {
	s := newServer(t)
	up := s.ask("POST", "/v1/sources", "", 201).at("source", "upload_url").(string)
	if a := s.upload(up, "PK\x03\x04 a zip"); a.status != 422 {
		t.Errorf("a zip answered %d %s", a.status, a.text)
	}
	if a := s.upload(up, ""); a.status != 422 {
		t.Errorf("nothing answered %d %s", a.status, a.text)
	}
	large := "\x1f\x8b" + strings.Repeat("x", 1<<20)
	// With its length announced, and without.
	if a := s.upload(up, large); a.status != 413 {
		t.Errorf("a large archive answered %d %s", a.status, a.text)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", up, io.MultiReader(strings.NewReader(large)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("a large chunked archive answered %d", resp.StatusCode)
	}
	if left, _ := os.ReadDir(s.sources); len(left) != 0 {
		t.Errorf("refused uploads left %v", left)
	}
	// After all that, a good one passes.
	if a := s.upload(up, gzipped(t, "x")); a.status != 200 {
		t.Errorf("a good archive answered %d %s", a.status, a.text)
	}
}

func TestLinksOfSourcesCannotBeTurnedIntoOthers(t *testing.T) {
	now := time.Now()
	s := newServer(t, func(c *Config) { c.Now = func() time.Time { return now } })
	s.createApp("some-app")
	first, second := s.ask("POST", "/v1/sources", "{}", 201), s.ask("POST", "/v1/sources", "{}", 201)
	up, down := first.at("source", "upload_url").(string), first.at("source", "download_url").(string)
	path, token, _ := strings.Cut(up, "?token=")
	_, downToken, _ := strings.Cut(down, "?token=")
	other, _, _ := strings.Cut(second.at("source", "upload_url").(string), "?")
	for name, url := range map[string]string{"another source": other + "?token=" + token, "the download token": path + "?token=" + downToken,
		"no token": path, "a session": path + "?token=" + s.adaJWT} {
		if a := s.upload(url, gzipped(t, "x")); a.status != 401 {
			t.Errorf("upload with %s answered %d", name, a.status)
		}
	}
	if a := s.send(call{method: "GET", path: "/v1/apps", bearer: token}); a.status != 401 {
		t.Errorf("an upload token as a session answered %d", a.status)
	}
	if a := s.upload(up, gzipped(t, "x")); a.status != 200 {
		t.Fatalf("upload answered %d", a.status)
	}
	// bob cannot deploy what ada uploaded.
	if _, err := s.store.CreateApp(t.Context(), s.bob, "bobs-app", "", ""); err != nil {
		t.Fatal(err)
	}
	body := `{"deployment":{"source_url":"` + down + `"}}`
	if a := s.send(call{method: "POST", path: "/v1/apps/bobs-app/deployments", body: body, bearer: s.bobJWT}); a.status != 422 {
		t.Errorf("bob deploying ada's source answered %d", a.status)
	}
	for _, url := range []string{"", "https://github.com/x/y/archive/main.tar.gz", s.URL + "/v1/sources/../../etc/passwd", "::", down + "x"} {
		s.ask("POST", "/v1/apps/some-app/deployments", `{"deployment":{"source_url":"`+url+`"}}`, 422).at("errors", "source_url", 0)
	}
	s.ask("POST", "/v1/apps/some-app/deployments", `{"deployment":{"git_ref":"a\nb","source_url":"`+down+`"}}`, 422).at("errors", "git_ref", 0)
	now = now.Add(11 * time.Minute)
	if a := s.upload(second.at("source", "upload_url").(string), gzipped(t, "x")); a.status != 401 {
		t.Errorf("an upload after eleven minutes answered %d", a.status)
	}
}

func TestOldSourcesAreRemoved(t *testing.T) {
	s := newServer(t)
	old, fresh := filepath.Join(s.sources, "a.tar.gz.part"), filepath.Join(s.sources, "b.tar.gz")
	for _, f := range []string{old, fresh} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.ask("POST", "/v1/sources", "{}", 201)
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the old one is there: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the fresh one is gone: %v", err)
	}
}

func FuzzSourceURL(f *testing.F) {
	for _, seed := range []string{"http://x/v1/sources/11111111-1111-4111-8111-111111111111?token=a.b.c", "https://example.test/a.tar.gz", "%zz", "/v1/sources/..", ""} {
		f.Add(seed)
	}
	signer, err := auth.NewSigner(bytes.Repeat([]byte{1}, 32), time.Now)
	if err != nil {
		f.Fatal(err)
	}
	a := &API{Config: Config{Sources: f.TempDir()}, tokens: signer}
	f.Fuzz(func(t *testing.T, url string) {
		// Nothing that was not signed here may name a source.
		if id, err := a.sourceOf(&request{api: a, user: platform.User{ID: "us-1"}}, url); platform.CodeOf(err) != platform.CodeInvalid {
			t.Errorf("%q gave %q, %v", url, id, err)
		}
	})
}
