package deploy

import (
	"io"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/platform"
)

func TestNewcomersSeeAFinishedDeploymentAndThenTheNext(t *testing.T) {
	s := &Streams{Dir: t.TempDir()}
	deploy := func(id string) {
		out, err := s.begin(platform.Deployment{ID: id, AppID: "app"})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(out, "hello "+id+"\n")
		out.status(platform.DeploymentSuccess)
		if err := out.close(); err != nil {
			t.Fatal(err)
		}
	}
	deploy("one")
	events := s.Subscribe(t.Context(), "app")
	want := func(id string) {
		t.Helper()
		if e := <-events; e.Type != EventNew || e.DeploymentID != id {
			t.Fatalf("event %+v, want the beginning of %s", e, id)
		}
		if e := <-events; e.Type != EventLog || e.Content != "hello "+id+"\n" {
			t.Fatalf("event %+v, want the log of %s", e, id)
		}
		if e := <-events; e.Type != EventStatus || e.Status != platform.DeploymentSuccess {
			t.Fatalf("event %+v, want the status of %s", e, id)
		}
	}
	want("one")
	deploy("two")
	want("two")
	f, err := s.Output("one")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, _ := io.ReadAll(f); string(text) != "hello one\n" {
		t.Fatalf("the log is %q", text)
	}
	for _, id := range []string{"../one", "none", "", ".."} {
		if _, err := s.Output(id); err == nil {
			t.Errorf("deployment %q has a log", id)
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	s := &Streams{Dir: t.TempDir()}
	out, err := s.begin(platform.Deployment{ID: "big", AppID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	chunk := []byte(strings.Repeat("x", 1<<20))
	for range 20 {
		if n, err := out.Write(chunk); n != len(chunk) || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	info, err := out.file.Stat()
	if err != nil || info.Size() > maxOutput+1000 {
		t.Fatalf("the log has %d bytes (%v)", info.Size(), err)
	}
}
