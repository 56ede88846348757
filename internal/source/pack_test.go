package source

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lonely keeps the user's git configuration out of a test.
func lonely(t *testing.T) {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
}

// packAndUnpack returns what arrives at the server.
func packAndUnpack(t *testing.T, dir string) (map[string]string, Info) {
	t.Helper()
	var b bytes.Buffer
	files, err := Pack(context.Background(), dir, &b)
	if err != nil {
		t.Fatal(err)
	}
	dest, info, err := unpack(t, &b, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	got := listing(t, dest)
	folders := 0
	for _, content := range got {
		if content == "dir" {
			folders++
		}
	}
	if files != len(got)-folders {
		t.Errorf("Pack counted %d files; %d arrived", files, len(got)-folders)
	}
	return got, info
}

func gitRun(t *testing.T, dir string, args ...string) {
	t.Helper()
	args = append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"}, args...)
	if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func TestPackLeavesOutWhatIsIgnored(t *testing.T) {
	lonely(t)
	dir := filepath.Join(t.TempDir(), "shop")
	writeTree(t, dir, map[string]string{
		"Procfile":           "web: ./run",
		".gitignore":         "*.log\nnode_modules/\n!keep.log\n",
		".slugignore":        "docs\n*.psd\n",
		"a.log":              "no",
		"keep.log":           "yes",
		"node_modules/x/y":   "no",
		"sub/.gitignore":     "secret\n/only-here\n",
		"sub/secret":         "no",
		"sub/only-here":      "no",
		"sub/deep/only-here": "yes",
		"docs/guide.txt":     "no",
		"art.psd":            "no",
		"sub/art.psd":        "yes: * does not cross a slash",
		"link":               "-> sub/deep",
		"name with ü\nline":  "yes",
	})
	got, info := packAndUnpack(t, dir)
	want := map[string]string{
		"Procfile": "web: ./run", ".gitignore": "*.log\nnode_modules/\n!keep.log\n", ".slugignore": "docs\n*.psd\n",
		"keep.log": "yes", "sub": "dir", "sub/.gitignore": "secret\n/only-here\n",
		"sub/deep": "dir", "sub/deep/only-here": "yes", "sub/art.psd": "yes: * does not cross a slash",
		"link": "-> sub/deep", "name with ü\nline": "yes",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if info.Top != "shop" {
		t.Errorf("top folder %q", info.Top)
	}
}

func TestPackInARepository(t *testing.T) {
	lonely(t)
	repo := filepath.Join(t.TempDir(), "mono")
	writeTree(t, repo, map[string]string{
		".gitignore":      "*.gen\nbuild/\n",
		"app/tracked.gen": "tracked although ignored", "app/loose.gen": "ignored by the parent",
		"app/main": "1", "app/gone": "deleted", "other/x": "not in the folder", "build/app/f": "all ignored",
	})
	gitRun(t, repo, "init", "--quiet")
	gitRun(t, repo, "add", "-f", "app/tracked.gen", "app/main", "app/gone")
	gitRun(t, repo, "commit", "--quiet", "-m", "x")
	if err := os.Remove(filepath.Join(repo, "app/gone")); err != nil {
		t.Fatal(err)
	}
	writeTree(t, repo, map[string]string{"app/untracked": "new"})
	// In a git hook these point elsewhere.
	t.Setenv("GIT_DIR", "/nonexistent")
	t.Setenv("GIT_INDEX_FILE", "/nonexistent")

	got, _ := packAndUnpack(t, filepath.Join(repo, "app"))
	want := map[string]string{"tracked.gen": "tracked although ignored", "main": "1", "untracked": "new"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// A folder that its repository ignores was named on purpose.
	got, _ = packAndUnpack(t, filepath.Join(repo, "build/app"))
	if diff := cmp.Diff(map[string]string{"f": "all ignored"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPackTakesInnerRepositoriesAlong(t *testing.T) {
	lonely(t)
	base := t.TempDir()
	library := filepath.Join(base, "library")
	writeTree(t, library, map[string]string{"lib.txt": "l"})
	gitRun(t, library, "init", "--quiet")
	gitRun(t, library, "add", ".")
	gitRun(t, library, "commit", "--quiet", "-m", "x")

	app := filepath.Join(base, "app")
	writeTree(t, app, map[string]string{"main": "1", "clone/.gitignore": "junk\n", "clone/junk": "no", "clone/f": "yes"})
	gitRun(t, app, "init", "--quiet")
	gitRun(t, app, "submodule", "--quiet", "add", library, "sub")
	gitRun(t, app, "submodule", "--quiet", "add", library, "unfetched")
	gitRun(t, app, "commit", "--quiet", "-m", "x")
	gitRun(t, app, "submodule", "--quiet", "deinit", "--force", "unfetched")
	gitRun(t, filepath.Join(app, "clone"), "init", "--quiet")

	got, _ := packAndUnpack(t, app)
	delete(got, ".gitmodules")
	want := map[string]string{
		"main": "1", "sub": "dir", "sub/lib.txt": "l",
		"clone": "dir", "clone/.gitignore": "junk\n", "clone/f": "yes",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPackRefuses(t *testing.T) {
	lonely(t)
	tests := []struct {
		name  string
		files map[string]string
		code  Code
		says  string
	}{
		{"nothing", map[string]string{"dir/.gitignore": "*"}, CodeEmpty, "nothing to deploy"},
		{"a link out", map[string]string{"l": "-> ../../etc"}, CodeLink, `"l"`},
		{"an absolute link", map[string]string{"l": "-> /etc/passwd"}, CodeLink, "absolute"},
		{"a bad pattern", map[string]string{"f": "x", ".slugignore": "ok\n[a\n"}, CodePattern, "line 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writeTree(t, dir, tt.files)
			var b bytes.Buffer
			_, err := Pack(context.Background(), dir, &b)
			wantCode(t, err, tt.code)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("message lacks %q: %v", tt.says, err)
			}
			if b.Len() > 0 {
				t.Errorf("%d bytes were written before the refusal", b.Len())
			}
		})
	}
}

func TestPackRefusesTooMuch(t *testing.T) {
	lonely(t)
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"main": "1", "data/set/part": "x"})
	if err := os.Truncate(filepath.Join(dir, "data/set/part"), MaxBytes); err != nil { // sparse
		t.Fatal(err)
	}
	_, err := Pack(context.Background(), dir, &bytes.Buffer{})
	wantCode(t, err, CodeTooLarge)
	if !strings.Contains(err.Error(), "data/set (300 MiB)") {
		t.Errorf("the largest folder is not named: %v", err)
	}
}

func TestPackWithoutGit(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"main": "1"})
	t.Setenv("PATH", t.TempDir())
	_, err := Pack(context.Background(), dir, &bytes.Buffer{})
	wantCode(t, err, CodeNoGit)
}

func TestPackOfAMissingFolder(t *testing.T) {
	_, err := Pack(context.Background(), filepath.Join(t.TempDir(), "nowhere"), &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got %v", err)
	}
}

func TestApplySlugignore(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "app")
	writeTree(t, parent, map[string]string{"outside/f": "stays", "app/out": "-> ../outside"})
	writeTree(t, dir, map[string]string{
		".slugignore": "# not at run time\n\n/docs/\n*.psd\nsrc/*.ts\nout\nout/*\nnothing-here\n",
		"docs/a/b":    "x", "x.psd": "x", "deep/x.psd": "stays", "src/a.ts": "x", "src/a.js": "stays", "src/sub/a.ts": "stays",
	})
	if err := ApplySlugignore(dir); err != nil {
		t.Fatal(err)
	}
	got := listing(t, dir)
	delete(got, ".slugignore")
	want := map[string]string{
		"deep": "dir", "deep/x.psd": "stays", "src": "dir", "src/a.js": "stays", "src/sub": "dir", "src/sub/a.ts": "stays",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"f": "stays"}, listing(t, filepath.Join(parent, "outside"))); diff != "" {
		t.Errorf("reached outside:\n%s", diff)
	}
}

// "*" is allowed and takes everything but the folder itself.
func TestApplySlugignoreStar(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{".slugignore": "*", "b/c": "x"})
	if err := ApplySlugignore(dir); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, dir); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestApplySlugignoreRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"the parent": "..", "out of it": "a/../../b", "everything at once": "/", "itself": ".",
		"an open bracket": "[a", "too much": strings.Repeat("a\n", maxSlugignore),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeTree(t, dir, map[string]string{".slugignore": text, "b": "x"})
			err := ApplySlugignore(dir)
			wantCode(t, err, CodePattern)
			if len(listing(t, dir)) != 2 {
				t.Error("something was removed")
			}
		})
	}
	t.Run("a link to a file outside", func(t *testing.T) {
		dir := t.TempDir()
		writeTree(t, dir, map[string]string{".slugignore": "-> /etc/hosts"})
		err := ApplySlugignore(dir)
		wantCode(t, err, CodePattern)
	})
}

func TestApplySlugignoreWithoutOne(t *testing.T) {
	if err := ApplySlugignore(t.TempDir()); err != nil {
		t.Error(err)
	}
}
