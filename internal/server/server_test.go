package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A second server is refused before it changes anything, whichever of the
// folders it shares with the first.
func TestOneServerAtATimeUsesAFolder(t *testing.T) {
	data, run := t.TempDir(), t.TempDir()
	unlock, err := lock(Config{DataDir: data, RunDir: run})
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"the same":            {DataDir: data, RunDir: run},
		"another run folder":  {DataDir: data, RunDir: t.TempDir()},
		"another data folder": {DataDir: t.TempDir(), RunDir: run},
	} {
		shared := run
		if cfg.DataDir == data {
			shared = data
		}
		if err := Run(t.Context(), cfg, slog.Default()); err == nil || !strings.Contains(err.Error(), "another atoll server uses "+shared) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(cfg.DataDir, databaseName)); err == nil {
			t.Errorf("%s: it made a database", name)
		}
	}
	unlock()
	// What was refused holds nothing, and one folder can be both.
	if unlock, err = lock(Config{DataDir: run, RunDir: run}); err != nil {
		t.Fatal(err)
	}
	unlock()
}
