package enginetest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is the name of the image that BuildImage makes.
const Image = "atoll.local/enginetest:1"

// BuildImage writes an OCI image layout with an image for the suite, and
// returns its folder. It has two layers, one compressed with gzip and one
// with zstd: /bin/bash and its libraries from this machine, and /bin/probe.
// It runs as "app", 10000:10000, who owns /app.
func BuildImage(t testing.TB, dir string) string {
	t.Helper()
	probe := filepath.Join(dir, "probe")
	Build(t, probe, "github.com/atollhq/atoll/internal/engine/enginetest/probe")
	base := &archive{}
	base.dir("app", 0o755, 10000)
	base.file("app/.profile.d/one.sh", []byte("export PROFILE_ONE='1 one'\n"), 0o755)
	base.file("app/.profile", []byte("export PROFILE_TWO=\"2 $PROFILE_ONE\"\n"), 0o755)
	base.dir("tmp", 0o1777, 0)
	base.dir("var/tmp", 0o1777, 0)
	base.file("etc/passwd", []byte("root:x:0:0::/:/bin/bash\napp:x:10000:10000::/app:/bin/bash\n"), 0o644)
	base.file("etc/group", []byte("root:x:0:\napp:x:10000:\n"), 0o644)
	for _, path := range withLibraries(t, "/bin/bash") {
		base.host(t, path, strings.TrimPrefix(path, "/"))
	}
	if path := "/usr/bin/tini"; exec.Command(path, "--version").Run() == nil {
		base.host(t, path, strings.TrimPrefix(path, "/"))
	}
	top := &archive{}
	top.host(t, probe, "bin/probe")

	img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		base.layer(t, compression.GZip, types.OCILayer), top.layer(t, compression.ZStd, types.OCILayerZStd))
	check(t, err)
	config, err := img.ConfigFile()
	check(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{User: "app", WorkingDir: "/app", Env: []string{"PATH=/bin:/usr/bin", "FROM_IMAGE=yes"}}
	img, err = mutate.ConfigFile(img, config)
	check(t, err)
	out := filepath.Join(dir, "image")
	path, err := layout.Write(out, empty.Index)
	check(t, err)
	check(t, path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": Image})))
	return out
}

// Build compiles a program of this module without cgo.
func Build(t testing.TB, out, pkg string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, text)
	}
}

// Private

// withLibraries returns a program and the shared libraries that it loads.
func withLibraries(t testing.TB, program string) []string {
	t.Helper()
	paths := []string{program}
	text, err := exec.Command("ldd", program).Output()
	if err != nil {
		return paths // static
	}
	for _, field := range strings.Fields(string(text)) {
		if filepath.IsAbs(field) && !slices.Contains(paths, field) {
			paths = append(paths, field)
		}
	}
	return paths
}

// archive collects the files of a layer.
type archive struct {
	buf  bytes.Buffer
	tar  *tar.Writer
	made map[string]bool
}

func (a *archive) add(h *tar.Header, content []byte) {
	if a.tar == nil {
		a.tar, a.made = tar.NewWriter(&a.buf), map[string]bool{}
	}
	if parent := filepath.Dir(h.Name); parent != "." && !a.made[parent] {
		a.dir(parent, 0o755, 0)
	}
	if a.made[h.Name] {
		return
	}
	a.made[h.Name] = true
	if err := a.tar.WriteHeader(h); err != nil {
		panic(fmt.Sprintf("cannot write to memory: %v", err))
	}
	if _, err := a.tar.Write(content); err != nil {
		panic(fmt.Sprintf("cannot write to memory: %v", err))
	}
}

func (a *archive) dir(name string, mode int64, owner int) {
	a.add(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, Uid: owner, Gid: owner}, nil)
}

func (a *archive) file(name string, content []byte, mode int64) {
	a.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, content)
}

func (a *archive) host(t testing.TB, source, name string) {
	t.Helper()
	content, err := os.ReadFile(source)
	check(t, err)
	a.file(name, content, 0o755)
}

func (a *archive) layer(t testing.TB, c compression.Compression, media types.MediaType) v1.Layer {
	t.Helper()
	check(t, a.tar.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(a.buf.Bytes())), nil
	}, tarball.WithCompression(c), tarball.WithMediaType(media))
	check(t, err)
	return l
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
