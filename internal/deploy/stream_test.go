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
	got := make(chan string)
	go s.Follow(t.Context(), "app", func(kind string, d platform.Deployment, text string) error {
		got <- strings.Join([]string{kind, d.ID, string(d.Status), text}, " ")
		return nil
	})
	want := func(id string) {
		t.Helper()
		for _, line := range []string{"new " + id + "  ", "log " + id + "  hello " + id + "\n", "status " + id + " success "} {
			if e := <-got; e != line {
				t.Fatalf("event %q, want %q", e, line)
			}
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
