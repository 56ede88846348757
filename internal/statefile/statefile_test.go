package statefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/statefile"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	// What a kill in the middle of a former one left is in nobody's way.
	if err := os.WriteFile(path+".new", []byte("half of a rather long te"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first, longer", "second"} {
		if err := statefile.Replace(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Fatalf("it contains %q (%v), want %q", got, err, text)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("there are %v (%v), want the file alone", files, err)
	}
}

func TestAFailureLeavesTheFormerContent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := os.WriteFile(path, []byte("former"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := statefile.Replace(path, []byte("new"), 0o600); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error is %v, want one that names the file", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "former" {
		t.Errorf("it contains %q (%v)", got, err)
	}
	if err := statefile.Replace(filepath.Join(dir, "no", "folder"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
}
