package rig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettingsArePutBack(t *testing.T) {
	data := t.TempDir()
	files := map[string]string{"low": "128\n", "high": "65536\n", "changed again": "128\n"}
	for name, text := range files {
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := raiseSetting(data, path, 1024); err != nil {
			t.Fatal(err)
		}
	}
	want := func(name, text string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(data, name)); err != nil || strings.TrimSpace(string(got)) != text {
			t.Errorf("%s is %q (%v), want %s", name, got, err, text)
		}
	}
	want("low", "1024")
	want("high", "65536")
	if err := os.WriteFile(filepath.Join(data, "changed again"), []byte("4096\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := restoreSettings(data); err != nil {
		t.Fatal(err)
	}
	want("low", "128")
	want("high", "65536")
	want("changed again", "4096")
	if err := restoreSettings(t.TempDir()); err != nil {
		t.Errorf("a run that changed nothing: %v", err)
	}
}
