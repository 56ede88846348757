package server

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExaminationBeginsWithWhatAStartNeeds(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	all, needed := Examination(cfg), Checks(cfg)
	for i, c := range needed {
		if all[i].Name != c.Name {
			t.Errorf("check %d is %s, of a start %s", i, all[i].Name, c.Name)
		}
	}
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.Name] {
			t.Errorf("there are two checks called %s", c.Name)
		}
		seen[c.Name] = true
	}
}

func TestExamineServer(t *testing.T) {
	status := http.StatusOK
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer api.Close()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.APIListen = t.TempDir(), strings.TrimPrefix(api.URL, "http://")
	look := func(running int) (string, error) { return examineServer(t.Context(), cfg, running) }

	if found, err := look(0); err != nil || !strings.Contains(found, "atoll init makes it") {
		t.Errorf("before init: %q, %v", found, err)
	}
	if err := os.WriteFile(filepath.Join(cfg.DataDir, databaseName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := look(0); err == nil || !strings.Contains(err.Error(), "start it with atoll server") {
		t.Errorf("stopped: %v", err)
	}
	if found, err := look(7); err != nil || !strings.Contains(found, "runs (process 7)") {
		t.Errorf("running: %q, %v", found, err)
	}
	status = http.StatusServiceUnavailable
	if _, err := look(7); err == nil || !strings.Contains(err.Error(), "says it is not well (status 503)") {
		t.Errorf("unwell: %v", err)
	}
	api.Close()
	if _, err := look(7); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("stuck: %v", err)
	}
}

func TestPublicPortsOfTheFirewallCheck(t *testing.T) {
	for listen, want := range map[string]int{":80": 1, "0.0.0.0:8080": 1, "127.0.0.1:8080": 0} {
		cfg := DefaultConfig()
		cfg.HTTPListen = listen
		if b := cfg.bridge(); len(b.Public) != want || !b.Prefix.IsValid() {
			t.Errorf("%s gives %+v", listen, b)
		}
	}
	for addr, want := range map[string]string{":7000": "127.0.0.1:7000", "0.0.0.0:1": "127.0.0.1:1", "203.0.113.2:7000": "203.0.113.2:7000", "host:1": "host:1"} {
		if got := dialable(addr); got != want {
			t.Errorf("%s is dialled as %s, want %s", addr, got, want)
		}
	}
}
