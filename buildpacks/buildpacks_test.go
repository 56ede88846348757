package buildpacks

import (
	"archive/zip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "er")
	for range 2 { // again over itself
		if err := Install(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range Order {
		for _, file := range []string{"detect", "compile", "release"} {
			info, err := os.Stat(filepath.Join(dir, name, "bin", file))
			if err != nil {
				t.Error(err)
			} else if info.Mode().Perm() != 0o755 {
				t.Errorf("%s/bin/%s has mode %v", name, file, info.Mode())
			}
		}
		if _, err := Files.ReadFile(name + "/README.md"); err != nil {
			t.Error(err)
		}
	}
	order, err := os.ReadFile(filepath.Join(dir, "ORDER"))
	if err != nil || string(order) != "go\nnodejs\npython\nstatic\nbinary\n" {
		t.Errorf("ORDER is %q, %v", order, err)
	}
}

// Every folder that is embedded is offered, and the other way round.
func TestOrderIsComplete(t *testing.T) {
	entries, err := fs.ReadDir(Files, ".")
	if err != nil {
		t.Fatal(err)
	}
	folders := 0
	for _, e := range entries {
		if e.IsDir() {
			folders++
		}
	}
	if folders != len(Order) {
		t.Errorf("%d buildpacks embedded, %d in Order", folders, len(Order))
	}
}

func TestDetect(t *testing.T) {
	dir := t.TempDir()
	if err := Install(dir); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		files []string
		want  string
	}{
		{[]string{"go.mod"}, "Go"},
		{[]string{"main.go"}, "Go"},
		{[]string{"go.mod", "package.json", "index.html", "Procfile"}, "Go"},
		{[]string{"package.json", "requirements.txt"}, "Node.js"},
		{[]string{"requirements.txt", "index.html"}, "Python"},
		{[]string{"pyproject.toml"}, "Python"},
		{[]string{"Pipfile"}, "Python"},
		{[]string{"index.html", "Procfile"}, "Static site"},
		{[]string{"public/index.html"}, "Static site"},
		{[]string{"Procfile", "sub/go.mod"}, "Binary"},
		{[]string{"README"}, ""},
		{nil, ""},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.files, " "), func(t *testing.T) {
			app := filepath.Join(t.TempDir(), "an app") // with a space
			for _, name := range append(tt.files, ".keep") {
				writeFile(t, filepath.Join(app, name), "")
			}
			got := ""
			for _, name := range Order {
				out, err := exec.Command(filepath.Join(dir, name, "bin", "detect"), app).CombinedOutput()
				if err == nil {
					got = strings.TrimSuffix(string(out), "\n")
					break
				}
				if len(out) > 0 {
					t.Errorf("%s declines with output %q", name, out)
				}
			}
			if got != tt.want {
				t.Errorf("detected %q, want %q", got, tt.want)
			}
		})
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sample puts testdata/<name> into a new box.
func sample(t *testing.T, name string) *box {
	t.Helper()
	b := newBox(t)
	if out, err := exec.Command("cp", "-a", filepath.Join("testdata", name)+"/.", b.app).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	return b
}

// mustBuild builds and returns the output and the default web command.
func mustBuild(t *testing.T, b *box, wantName string) (output, web string) {
	t.Helper()
	name, output, err := b.build(t)
	if err != nil || name != wantName {
		t.Fatalf("buildpack %q, want %q; %v\n%s", name, wantName, err, output)
	}
	_, text, found := strings.Cut(output, "\nrelease:\n")
	if !found {
		t.Fatalf("no release in:\n%s", output)
	}
	var release struct {
		Types map[string]string `yaml:"default_process_types"`
	}
	if err := yaml.Unmarshal([]byte(text), &release); err != nil {
		t.Fatalf("bin/release prints no YAML: %v\n%s", err, text)
	}
	return output, release.Types["web"]
}

func wantFailure(t *testing.T, b *box, says ...string) {
	t.Helper()
	_, output, err := b.build(t)
	if err == nil {
		t.Errorf("the build succeeded:\n%s", output)
	}
	for _, text := range says {
		if !strings.Contains(output, text) {
			t.Errorf("the output lacks %q:\n%s", text, output)
		}
	}
}

func wantAnswer(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
}

func TestGo(t *testing.T) {
	b := sample(t, "go")
	writeFile(t, filepath.Join(b.env, "GO_LDFLAGS"), "-X 'main.mark=from a variable'")
	writeFile(t, filepath.Join(b.env, "PATH"), "/nowhere") // must not break the build
	writeFile(t, filepath.Join(b.env, "not-a-name"), "x")
	output, web := mustBuild(t, b, "go")
	if !strings.Contains(output, "example.test/hello/cmd/worker -> bin/worker") {
		t.Errorf("worker is not named:\n%s", output)
	}
	if web != "bin/web" {
		t.Errorf("default web %q", web)
	}
	wantAnswer(t, b.serve(t, web, "/"), "hello from Go, from a variable")
	if out, err := b.run(t, b.layers[:1], "worker"); err != nil || out != "working\n" {
		t.Errorf("worker: %q, %v", out, err)
	}
	// Nothing of the toolchain's own files may end up in the app.
	if out, err := b.run(t, b.layers, "ls -A"); err != nil || out != ".atoll\nbin\ncmd\ngo.mod\n" {
		t.Errorf("the app has:\n%s%v", out, err)
	}
	// A second build with the cache of the first gives the same.
	mustBuild(t, b, "go")
}

func TestGoWithVendoredDependencies(t *testing.T) {
	b := sample(t, "govendor")
	_, web := mustBuild(t, b, "go")
	if web != "bin/vendored" {
		t.Errorf("default web %q", web)
	}
	wantAnswer(t, b.serve(t, web, "/"), "hello from vendor")
}

func TestGoOnlySomePackages(t *testing.T) {
	b := sample(t, "go")
	writeFile(t, filepath.Join(b.env, "GO_INSTALL_PACKAGE_SPEC"), "./cmd/worker")
	if _, web := mustBuild(t, b, "go"); web != "bin/worker" {
		t.Errorf("default web %q", web)
	}
	if _, err := os.Stat(filepath.Join(b.app, "bin", "web")); err == nil {
		t.Error("web was built too")
	}
}

func TestGoFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"no go.mod":       {map[string]string{"main.go": "package main\n"}, []string{"no go.mod", "go mod init"}},
		"no main package": {map[string]string{"go.mod": "module a.test/a\n", "a.go": "package a\n"}, []string{"no main package"}},
		"does not compile": {map[string]string{"go.mod": "module a.test/a\n", "a.go": "package main\nfunc main() { x }\n"},
			[]string{"undefined: x", "build failed", "fresh clone"}},
		"same name twice": {map[string]string{"go.mod": "module a.test/a\n", "a/x/m.go": "package main\nfunc main() {}\n", "b/x/m.go": "package main\nfunc main() {}\n"},
			[]string{"both become bin/x"}},
		"missing module": {map[string]string{"go.mod": "module a.test/a\n", "a.go": "package main\nimport _ \"b.test/b\"\nfunc main() {}\n"},
			[]string{"b.test/b"}},
		"broken go.mod":      {map[string]string{"go.mod": "modul\n", "a.go": "package main\n"}, []string{"go.mod"}},
		"Go from the future": {map[string]string{"go.mod": "module a.test/a\n\ngo 1.99\n", "a.go": "package main\nfunc main() {}\n"}, []string{"1.99", "older"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			for file, content := range tt.files {
				writeFile(t, filepath.Join(b.app, file), content)
			}
			wantFailure(t, b, tt.says...)
		})
	}
}

func TestNode(t *testing.T) {
	b := sample(t, "nodejs")
	output, web := mustBuild(t, b, "nodejs")
	for _, text := range []string{"npm ci", "Running the build script", "Removing development dependencies"} {
		if !strings.Contains(output, text) {
			t.Errorf("the output lacks %q:\n%s", text, output)
		}
	}
	if web != "npm start" {
		t.Errorf("default web %q", web)
	}
	wantAnswer(t, b.serve(t, web, "/"), "hello from Node, built by a script, production")
	if _, err := os.Lstat(filepath.Join(b.app, "node_modules", "writer")); err == nil {
		t.Error("the development dependency is still there")
	}
}

func TestNodeWithoutDependencies(t *testing.T) {
	b := newBox(t)
	writeFile(t, filepath.Join(b.app, "package.json"), `{"name": "x", "engines": {"node": ">=99"}}`)
	writeFile(t, filepath.Join(b.app, "server.js"), `require("http").createServer((q, r) => r.end("plain")).listen(process.env.PORT)`)
	output, web := mustBuild(t, b, "nodejs")
	if !strings.Contains(output, "asks for node >=99") {
		t.Errorf("no warning about the version:\n%s", output)
	}
	wantAnswer(t, b.serve(t, web, "/"), "plain")
}

func TestNodeWithoutAnythingToStart(t *testing.T) {
	b := newBox(t)
	writeFile(t, filepath.Join(b.app, "package.json"), `{}`)
	if _, web := mustBuild(t, b, "nodejs"); web != "" {
		t.Errorf("default web %q", web)
	}
}

func TestNodeFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"bad JSON":      {map[string]string{"package.json": "{,}"}, []string{"package.json cannot be read", "SyntaxError"}},
		"not an object": {map[string]string{"package.json": "[]"}, []string{"not an object"}},
		"bad build":     {map[string]string{"package.json": `{"scripts": {"build": "exit 3"}}`}, []string{"`npm run build` failed"}},
		"lock file out of date": {map[string]string{
			"package.json":      `{"dependencies": {"a": "1.0.0"}}`,
			"package-lock.json": `{"lockfileVersion": 3, "packages": {"": {}}}`,
		}, []string{"`npm ci` failed", "package-lock.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			// Without a network npm would try again for a minute.
			writeFile(t, filepath.Join(b.env, "npm_config_offline"), "true")
			for file, content := range tt.files {
				writeFile(t, filepath.Join(b.app, file), content)
			}
			wantFailure(t, b, tt.says...)
		})
	}
}

func TestPython(t *testing.T) {
	b := sample(t, "python")
	writeWheel(t, filepath.Join(b.app, "greeting-1.0-py3-none-any.whl"))
	output, web := mustBuild(t, b, "python")
	if !strings.Contains(output, "Successfully installed greeting-1.0") {
		t.Errorf("nothing was installed:\n%s", output)
	}
	if web != "" {
		t.Errorf("default web %q", web)
	}
	wantAnswer(t, b.serve(t, "python app.py", "/"), "hello from a wheel, hello from a tool")
}

// writeWheel makes a wheel by hand: the smallest dependency that needs no
// network.
func writeWheel(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for file, content := range map[string]string{
		"greeting.py":                             "TEXT = 'hello from a wheel'\ndef main():\n    print('hello from a tool')\n",
		"greeting-1.0.dist-info/METADATA":         "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
		"greeting-1.0.dist-info/WHEEL":            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"greeting-1.0.dist-info/entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
		"greeting-1.0.dist-info/RECORD":           "greeting.py,,\ngreeting-1.0.dist-info/METADATA,,\ngreeting-1.0.dist-info/WHEEL,,\ngreeting-1.0.dist-info/entry_points.txt,,\ngreeting-1.0.dist-info/RECORD,,\n",
	} {
		part, err := w.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPythonWithoutDependencies(t *testing.T) {
	b := newBox(t)
	writeFile(t, filepath.Join(b.app, "requirements.txt"), "# none\n\n")
	writeFile(t, filepath.Join(b.app, ".python-version"), "3.99\n")
	output, _ := mustBuild(t, b, "python")
	for _, text := range []string{"declares none", "asks for 3.99", "no Procfile"} {
		if !strings.Contains(output, text) {
			t.Errorf("the output lacks %q:\n%s", text, output)
		}
	}
	if _, err := os.Stat(filepath.Join(b.app, ".venv")); err == nil {
		t.Error("there is a virtual environment for nothing")
	}
}

func TestPythonFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"only a Pipfile":    {map[string]string{"Pipfile": ""}, []string{"pipenv requirements"}},
		"nonsense":          {map[string]string{"requirements.txt": "=== not a requirement"}, []string{"`pip install --requirement requirements.txt` failed", "Invalid requirement"}},
		"a missing package": {map[string]string{"requirements.txt": "--no-index\nnowhere==1"}, []string{"No matching distribution", "PIP_INDEX_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			for file, content := range tt.files {
				writeFile(t, filepath.Join(b.app, file), content)
			}
			wantFailure(t, b, tt.says...)
		})
	}
}

func TestStatic(t *testing.T) {
	b := sample(t, "static")
	output, web := mustBuild(t, b, "static")
	if !strings.Contains(output, "serves 1 files of public") {
		t.Errorf("output:\n%s", output)
	}
	if got := b.serve(t, web, "/"); !strings.Contains(got, "hello from a file") {
		t.Errorf("answer %q", got)
	}
}

func TestStaticAtTheRoot(t *testing.T) {
	b := newBox(t)
	writeFile(t, filepath.Join(b.app, "index.html"), "at the root")
	_, web := mustBuild(t, b, "static")
	wantAnswer(t, b.serve(t, web, "/?query"), "at the root")
}

func TestBinary(t *testing.T) {
	b := sample(t, "binary")
	output, web := mustBuild(t, b, "binary")
	if web != "" || !strings.Contains(output, "web: ./server") {
		t.Errorf("default web %q, output:\n%s", web, output)
	}
	wantAnswer(t, b.serve(t, "./server $PORT", "/"), "hello from a binary")
}

func TestBinaryFailures(t *testing.T) {
	mach := string([]byte{0xcf, 0xfa, 0xed, 0xfe, 7, 0, 0, 1, 3, 0, 0, 0, 2, 0, 0, 0}) + strings.Repeat("\x00", 64)
	for name, tt := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"missing":        {map[string]string{"Procfile": "web: ./server"}, []string{"./server, which is not in the source", ".gitignore"}},
		"not executable": {map[string]string{"Procfile": "\uFEFFweb: bin/server --now\r\n", "bin/server": "#!/bin/sh\n"}, []string{"chmod +x bin/server"}},
		"for macOS":      {map[string]string{"Procfile": "web: /app/x.sh", "x.sh": mach}, []string{"another kind of machine", "Mach-O"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			for file, content := range tt.files {
				writeFile(t, filepath.Join(b.app, file), content)
				if strings.HasSuffix(file, ".sh") {
					if err := os.Chmod(filepath.Join(b.app, file), 0o755); err != nil {
						t.Fatal(err)
					}
				}
			}
			wantFailure(t, b, tt.says...)
		})
	}
}

// A system without the buildpack's language must be told so by its exit code.
func TestNothingRecognised(t *testing.T) {
	b := newBox(t)
	writeFile(t, filepath.Join(b.app, "README"), "")
	if name, output, err := b.build(t); err != nil || name != "nothing" {
		t.Errorf("%q, %v\n%s", name, err, output)
	}
}
