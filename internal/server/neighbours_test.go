package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

func TestNeighbourLimitsAreRaisedNeverLowered(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	if err := raiseNeighbourLimits(dir, log); err != nil {
		t.Fatalf("in a namespace without the settings: %v", err)
	}
	for file, value := range map[string]string{"gc_thresh1": "128\n", "gc_thresh2": "512\n", "gc_thresh3": "100000\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := raiseNeighbourLimits(dir, log); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"gc_thresh1": "8192", "gc_thresh2": "32768", "gc_thresh3": "100000\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); string(got) != want || err != nil {
			t.Errorf("%s is %q (error %v), want %q", file, got, err, want)
		}
	}
}
