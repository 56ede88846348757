package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAnUploadedFolderIsNotFromTheFuture(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "set")
	at := time.Date(2026, 5, 5, 9, 0, 0, 900_000_000, time.UTC)
	file := filepath.Join(dir, "a")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("A"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, dir} {
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if err := packUpload(&packed, dir); err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(&packed)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(unzipped)
	for _, name := range []string{"set", "set/a"} {
		header, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if header.Name != name || header.ModTime.After(at) {
			t.Errorf("%s is of %v, want %s, not later than %v", header.Name, header.ModTime, name, at)
		}
	}
}
