package server

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/upkeep"
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

func TestExamineNetworks(t *testing.T) {
	cfg := DefaultConfig()
	cfg.RunDir = t.TempDir()
	if _, err := examineNetworks(cfg, time.Now()); err == nil || !strings.Contains(err.Error(), "not looked at its networks yet") {
		t.Errorf("before the first look: %v", err)
	}
	for _, tt := range []struct{ state, found, wrong string }{
		{`{"repairs": 3}`, "3 repairs", ""},
		{`{"last_repair": {"where": "/run/x", "what": "it was gone"}}`, "ago: /run/x: it was gone", ""},
		{`{"refused": [{}]}`, "", "--accept-removal"},
		{`{"refused_workloads": ["one"]}`, "", "1 of workloads"},
		{`{"failed": [{}, {}]}`, "", "2 containers could not be repaired"},
		{`{"error": "nft is missing"}`, "", "nft is missing"},
		{`{`, "", "cannot read the state"},
	} {
		if err := os.WriteFile(upkeep.StateFile(cfg.RunDir), []byte(tt.state), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := examineNetworks(cfg, time.Now())
		if tt.wrong == "" && (err != nil || !strings.Contains(found, tt.found)) {
			t.Errorf("%s: %q, %v", tt.state, found, err)
		}
		if tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
			t.Errorf("%s: %v, want an error with %q", tt.state, err, tt.wrong)
		}
	}
}

func TestPublicPortsOfTheFirewallCheck(t *testing.T) {
	for listen, want := range map[string]int{":80": 1, "0.0.0.0:8080": 1, "127.0.0.1:8080": 0, "localhost:8080": 0, "[::1]:8080": 0, "[::]:8080": 1} {
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
