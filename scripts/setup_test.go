// Package scripts only tests the scripts beside it.
package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// setup runs setup.sh with the commands in path only, as a root who has the
// packages in installed.
func setup(t *testing.T, installed []string, commands map[string]string) (output string, err error) {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"bash", "awk"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("needs %s: %v", name, err)
		}
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]string{
		"id": "echo 0", "go": "",
		"dpkg-query": "case ' " + strings.Join(installed, " ") + " ' in *\" $4 \"*) echo installed ;; *) exit 1 ;; esac",
		"apt-get":    "[ $1 = update ] || echo \"apt-get $*\"; [ $1 = update ]",
	}
	for name, text := range commands {
		all[name] = text
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(bin, "bash"), "setup.sh")
	cmd.Env = []string{"PATH=" + bin}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// wanted are all packages but those left out.
func wanted(t *testing.T, without ...string) []string {
	t.Helper()
	out, err := exec.Command("./setup.sh", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(p string) bool { return slices.Contains(without, p) })
}

// TestOthersPackagesCount: a machine with Docker's own packages has no package
// called containerd or runc, and installing these would remove Docker.
func TestOthersPackagesCount(t *testing.T) {
	installed := wanted(t, "containerd", "runc", "gcc")
	there := map[string]string{"containerd": "", "containerd-shim-runc-v2": "", "runc": "", "gcc": ""}
	if out, err := setup(t, installed, there); err != nil || out != "" {
		t.Errorf("everything is there: %q, %v", out, err)
	}
}

// TestNothingIsRemoved: what apt would remove for a package is named, and
// nothing is installed.
func TestNothingIsRemoved(t *testing.T) {
	installed := wanted(t, "containerd")
	out, err := setup(t, installed, map[string]string{
		"apt-get": "case \"$*\" in *' -s '*) echo 'Remv containerd.io [1.7]'; echo 'Remv docker-ce [27]' ;; update*) ;; *) echo \"apt-get $*\" ;; esac",
	})
	if err == nil || !strings.Contains(out, "containerd cannot be beside containerd.io docker-ce") || strings.Contains(out, "apt-get install") {
		t.Errorf("%q, %v", out, err)
	}
}
