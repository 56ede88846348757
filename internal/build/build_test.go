package build

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"

	"github.com/atollhq/atoll/internal/platform"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestProcessTypes(t *testing.T) {
	tests := map[string]struct {
		procfile, release string
		want              map[string]string
		wrong             string
	}{
		"the Procfile wins":         {"web: mine", "default_process_types:\n  web: theirs\n", map[string]string{"web": "mine"}, ""},
		"defaults fill in":          {"worker: work", "default_process_types:\n  web: theirs\n", map[string]string{"web": "theirs", "worker": "work"}, ""},
		"no Procfile":               {"", "default_process_types: {web: theirs}", map[string]string{"web": "theirs"}, ""},
		"a hook is no type":         {"web: mine\npostdeploy: hook", "", map[string]string{"web": "mine"}, ""},
		"nothing to start":          {"", "", nil, "add a Procfile"},
		"only a hook":               {"postdeploy: hook", "", nil, "add a Procfile"},
		"a bad Procfile":            {"my-worker: x", "", nil, "my-worker"},
		"a buildpack that chatters": {"", "hello: [", nil, "no valid YAML"},
		"a bad default":             {"", "default_process_types: {a-b: x}", nil, "a-b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.procfile != "" {
				write(t, dir, "Procfile", tt.procfile)
			}
			write(t, dir, "release.yml", tt.release)
			p, err := readPlan(dir)
			if hook := strings.Contains(tt.procfile, "postdeploy"); err == nil && hook != (p.postdeploy == "hook") {
				t.Errorf("the hook is %q", p.postdeploy)
			}
			var got map[string]string
			if err == nil {
				got, err = p.commands(filepath.Join(dir, "release.yml"))
			}
			var refused *Error
			switch {
			case tt.wrong == "" && err != nil:
				t.Fatal(err)
			case tt.wrong != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), tt.wrong)):
				t.Fatalf("error is %v, want one that says %q", err, tt.wrong)
			case len(got) != len(tt.want):
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for k, v := range tt.want {
				if got[k] != v {
					t.Errorf("%s is %q, want %q", k, got[k], v)
				}
			}
		})
	}
}

// What bin/release of a buildpack prints is anybody's, as BUILDPACK_URL is.
func FuzzRelease(f *testing.F) {
	for _, seed := range []string{"default_process_types:\n  web: bin/server\n  worker: bin/work\n", "--- {}", "default_process_types: [web]", "default_process_types: {web: {a: b}}",
		"a: &a [x, x]\ndefault_process_types: {web: *a}", "default_process_types: {Web: x, web: y}", "default_process_types: {postdeploy: x}", "default_process_types: {web: ' '}", "\t", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "release.yml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := plan{procfile: map[string]string{"clock": "bin/clock"}}.commands(path)
		if err != nil {
			if got != nil || err.Error() == "" {
				t.Errorf("%v beside the error %q", got, err)
			}
			return
		}
		if got["clock"] != "bin/clock" {
			t.Errorf("the Procfile does not win: %v", got)
		}
		for name, command := range got {
			if platform.ValidateProcessType(name) != nil || name == platform.TypePostdeploy || strings.TrimSpace(command) == "" {
				t.Errorf("%q became the process type %q: %q", text, name, command)
			}
		}
	})
}

func TestAProcfileThatIsALinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "Procfile")); err != nil {
		t.Fatal(err)
	}
	if _, err := readPlan(dir); err == nil {
		t.Fatal("a link was read as Procfile")
	}
}

func TestProjectDir(t *testing.T) {
	src, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write(t, src, "services/api/main.go", "package main")
	for link, target := range map[string]string{"out": "/etc", "up": "..", "in": "services"} {
		if err := os.Symlink(target, filepath.Join(src, link)); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{
		"": "", "services/api": "services/api", "/services/api/": "services/api", "in/api": "services/api", "../services": "services",
	} {
		if got, err := projectDir(src, dir); err != nil || got != filepath.Join(src, want) {
			t.Errorf("%q gives %q, %v", dir, got, err)
		}
	}
	for _, dir := range []string{"nothing", "services/api/main.go", "out", "up"} {
		if got, err := projectDir(src, dir); err == nil {
			t.Errorf("%q gives %q", dir, got)
		}
	}
}

// stack writes a small stack layout and returns its folder.
func stack(t *testing.T, ref string) string {
	t.Helper()
	base, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	base = mutate.ConfigMediaType(mutate.MediaType(base, types.OCIManifestSchema1), types.OCIConfigJSON)
	if base, err = mutate.Config(base, v1.Config{User: "app", WorkingDir: "/app"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(base, layout.WithAnnotations(map[string]string{imageName: ref})); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestImageIsTheStackWithTheAppOnTop(t *testing.T) {
	b := &Builder{cfg: Config{StackLayout: stack(t, "stack:run"), Stack: Stack{RunRef: "stack:run"}}}
	app, out := t.TempDir(), t.TempDir()
	write(t, app, "bin/server", "#!/bin/sh\n")
	write(t, app, "big", strings.Repeat("0123456789", 100000))
	if err := os.Symlink("bin/server", filepath.Join(app, "link")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(out, "one")
	size, err := b.writeImage(t.Context(), Request{AppName: "shop", ImageRef: "app:1"}, app, dir)
	if err != nil {
		t.Fatal(err)
	}
	image := onlyImage(t, dir, "app:1")
	// Fast: the library reads gzip only, so the content is checked below.
	if err := validate.Image(image, validate.Fast); err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 3 {
		t.Fatalf("%d layers, %v; want the stack's two and the app's", len(layers), err)
	}
	if got, _ := layers[2].Size(); got != size {
		t.Errorf("the app's layer has %d bytes, reported were %d", got, size)
	}
	files := content(t, image, layers[2])
	if files["app/bin/server"] != "#!/bin/sh\n" || files["app/link"] != "-> bin/server" || len(files["app/big"]) != 1000000 {
		t.Errorf("the app's layer holds %v", slices.Sorted(maps.Keys(files)))
	}
	if c, err := image.ConfigFile(); err != nil || c.Config.User != "app" || c.Config.WorkingDir != "/app" {
		t.Errorf("the stack's config is lost: %+v, %v", c, err)
	}
	// Equal sources make equal images, whatever their times.
	again := filepath.Join(out, "two")
	if _, err := b.writeImage(t.Context(), Request{AppName: "shop", ImageRef: "app:1"}, app, again); err != nil {
		t.Fatal(err)
	}
	first, _ := layers[2].Digest()
	second, err := onlyImage(t, again, "app:1").Layers()
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := second[2].Digest(); d != first {
		t.Error("the same source made another layer")
	}
}

// content unpacks the last layer of an image and checks it against its
// digest and the config.
func content(t *testing.T, image v1.Image, layer v1.Layer) map[string]string {
	t.Helper()
	r, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	compressed, plain := sha256.New(), sha256.New()
	z, err := zstd.NewReader(io.TeeReader(r, compressed))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string]string{}
	tr := tar.NewReader(io.TeeReader(z, plain))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
		if h.Linkname != "" {
			files[h.Name] = "-> " + h.Linkname
		}
		if h.Uid != stackUID || h.Gid != stackGID {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
	}
	if _, err := io.Copy(io.Discard, io.TeeReader(z, plain)); err != nil {
		t.Fatal(err)
	}
	digest, err := layer.Digest()
	if err != nil || digest != v1Hash(compressed) {
		t.Errorf("digest is %v, of the content %v (%v)", digest, v1Hash(compressed), err)
	}
	c, err := image.ConfigFile()
	if err != nil || c.RootFS.DiffIDs[len(c.RootFS.DiffIDs)-1] != v1Hash(plain) {
		t.Errorf("the config's diff id is not that of the content (%v)", err)
	}
	return files
}

func onlyImage(t *testing.T, dir, ref string) v1.Image {
	t.Helper()
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Annotations[imageName] != ref {
		t.Fatalf("index is %+v, %v", m, err)
	}
	image, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestWithoutAStackTheAdviceIsToBuildIt(t *testing.T) {
	b := &Builder{cfg: Config{StackLayout: t.TempDir(), Stack: Stack{RunRef: "stack:run"}}}
	_, err := b.writeImage(t.Context(), Request{}, t.TempDir(), filepath.Join(t.TempDir(), "x"))
	if err == nil || !strings.Contains(err.Error(), "make stack") {
		t.Fatalf("error is %v", err)
	}
}

func TestScheduledTasks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "cron.json", `{"jobs":[{"command":"*/10 * * * * x"},{"command":"0 3 * * * y","size":"L"}]}`)
	p, err := readPlan(dir)
	if err != nil || len(p.jobs) != 2 || p.jobs[0].Size != "M" || p.jobs[1].Size != "L" {
		t.Errorf("got %+v, error %v", p.jobs, err)
	}
	for text, says := range map[string]string{`{"jobs":[{"command":"* * * * * x"}]}`: "smallest interval", `{"jobs":[{"command":"0 3 * * * x","size":"XXS"}]}`: "XXS", `{`: "cron.json"} {
		write(t, dir, "cron.json", text)
		var refused *Error
		if _, err := readPlan(dir); !errors.As(err, &refused) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want one that says %q", text, err, says)
		}
	}
}
