package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/atollhq/atoll/internal/doctor"
)

// A first start has to be complete. After a later one, apps that run wait for
// their names: what only deployments and outside names need is no reason not
// to give them.
func TestAServerThatIsAtHomeStartsWithoutWhatDeploymentsNeed(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.StackDir, cfg.ResolvConf = filepath.Join(cfg.DataDir, "no-stack"), filepath.Join(cfg.DataDir, "no-resolv.conf")
	lacking := func() map[string]doctor.Outcome {
		t.Helper()
		var checks []doctor.Check
		for _, c := range Checks(cfg) {
			if c.Name == "stack image" || c.Name == "resolv.conf" {
				checks = append(checks, c)
			}
		}
		outcomes := map[string]doctor.Outcome{}
		for _, r := range doctor.Examine(t.Context(), checks) {
			outcomes[r.Name] = r.Outcome
		}
		return outcomes
	}
	for range 2 { // atoll init makes the database; that is no start
		for name, outcome := range lacking() {
			if outcome != doctor.Failure {
				t.Errorf("before the first start, %s is a %s", name, outcome)
			}
		}
		if err := os.WriteFile(filepath.Join(cfg.DataDir, databaseName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.RunDir = t.TempDir()
	unlock, err := lock(cfg)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	got := lacking()
	for name, outcome := range got {
		if outcome != doctor.Warning {
			t.Errorf("after a start, %s is a %s", name, outcome)
		}
	}
	if len(got) != 2 {
		t.Errorf("checked %v", got)
	}
}
