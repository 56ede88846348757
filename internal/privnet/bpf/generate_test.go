package bpf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestObjectIsCurrent compiles switch.c as the go:generate line says, into
// another folder, and compares every byte with what is committed.
func TestObjectIsCurrent(t *testing.T) {
	for _, tool := range []string{"clang-14", "llvm-strip-14"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s (Debian and Ubuntu: apt-get install clang-14 llvm-14): %v", tool, err)
		}
	}
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, line, found := strings.Cut(string(source), "//go:generate go tool bpf2go ")
	if !found {
		t.Fatal("doc.go has no go:generate line for bpf2go")
	}
	line, _, _ = strings.Cut(line, "\n")

	dir := t.TempDir()
	args := append([]string{"tool", "bpf2go", "-output-dir", dir}, strings.Fields(line)...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	made, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != 2 {
		t.Fatalf("the generator made %d files, want an object and its bindings", len(made))
	}
	for _, file := range made {
		fresh, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fresh, committed) {
			t.Errorf("%s is not what switch.c compiles to: run go generate ./internal/privnet/bpf", file.Name())
		}
	}
}
