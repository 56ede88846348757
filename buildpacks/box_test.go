package buildpacks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/klauspost/compress/zstd"
)

// rootfs is the stack, unpacked once for all tests: the layers of the build
// image, the lowest first.
var rootfs struct {
	sync.Once
	layers []string
	dir    string
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if rootfs.dir != "" {
		_ = os.RemoveAll(rootfs.dir)
	}
	os.Exit(code)
}

// stackLayers unpacks the stack or skips the test.
func stackLayers(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("running buildpacks in the build image needs root")
	}
	dir := os.Getenv("STACK_DIR")
	if dir == "" {
		dir = "/var/lib/atoll-cache/stack"
	}
	dir = filepath.Join(dir, "atoll-12.oci")
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err != nil {
		t.Skipf("no stack in %s; build it with stack/build-stack.sh (STACK_DIR says where)", dir)
	}
	rootfs.Do(func() {
		// Not below /tmp: that may be a tmpfs, and this is a gigabyte.
		if rootfs.dir, rootfs.err = os.MkdirTemp("/var/tmp", "atoll-buildpacks-"); rootfs.err == nil {
			rootfs.layers, rootfs.err = unpackImage(dir, "atoll.local/stack/atoll-12:build", rootfs.dir)
		}
	})
	if rootfs.err != nil {
		t.Fatalf("cannot unpack the stack: %v", rootfs.err)
	}
	return rootfs.layers
}

// unpackImage unpacks each layer of an image into a folder of its own.
func unpackImage(dir, ref, to string) ([]string, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if m.Annotations["io.containerd.image.name"] != ref {
			continue
		}
		image, err := index.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		layers, err := image.Layers()
		if err != nil {
			return nil, err
		}
		var folders []string
		for i, layer := range layers {
			folder := filepath.Join(to, fmt.Sprint(i))
			if err := unpackLayer(layer, folder); err != nil {
				return nil, err
			}
			folders = append(folders, folder)
		}
		return folders, nil
	}
	return nil, fmt.Errorf("the layout has no image %s", ref)
}

func unpackLayer(layer v1.Layer, folder string) error {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	r, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	z, err := zstd.NewReader(r)
	if err != nil {
		return err
	}
	defer z.Close()
	// The whiteouts stay as files named .wh.*: nothing looks at them here.
	cmd := exec.Command("tar", "--extract", "--preserve-permissions", "--numeric-owner", "--directory", folder)
	cmd.Stdin = io.Reader(z)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	return nil
}

// box is an app's folders and the stack to run things on them, as the
// platform does: the unprivileged user, /app, and here no network at all.
type box struct {
	layers                  []string
	app, cache, env, upper  string
	buildpacks, workOverlay string
}

func newBox(t *testing.T) *box {
	t.Helper()
	layers := stackLayers(t)
	dir, err := os.MkdirTemp(filepath.Dir(layers[0]), "box-")
	if err != nil {
		t.Fatal(err)
	}
	b := &box{layers: layers}
	for name, to := range map[string]*string{
		"app": &b.app, "env": &b.env, "upper": &b.upper, "buildpacks": &b.buildpacks, "work": &b.workOverlay,
	} {
		*to = filepath.Join(dir, name)
		if err := os.Mkdir(*to, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// One cache for all tests, so that Go's standard library is built once.
	b.cache = filepath.Join(filepath.Dir(layers[0]), "cache")
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Install(b.buildpacks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("cannot clean up: %v", err)
		}
	})
	return b
}

// enter runs in namespaces of its own: everything it mounts and starts is gone
// when it ends. $1 overlay options, $2 mount point, $3 app, $4 cache, $5 env,
// $6 buildpacks, $7 script.
const enter = `
set -euo pipefail
ip link set lo up
mount -t overlay overlay -o "$1" "$2"
cd "$2"
mount -t proc proc proc
mount -t tmpfs tmpfs tmp -o mode=1777
mount -t tmpfs tmpfs dev -o mode=755
for device in null zero random urandom; do
	: > "dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
ln -s /proc/self/fd dev/fd
mkdir -p tmp/cache tmp/env tmp/buildpacks
mount --bind "$3" app
mount --bind "$4" tmp/cache
mount --bind "$5" tmp/env
mount --bind "$6" tmp/buildpacks
exec chroot --userspec=10000:10000 "$2" /usr/bin/env -i HOME=/app LANG=C.UTF-8 \
	PATH=/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	bash -c 'cd /app && eval "$1"' - "$7"
`

// run runs a Bash script as the app's user in the image made of layers, and
// returns what it printed.
func (b *box) run(t *testing.T, layers []string, script string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	top := filepath.Join(filepath.Dir(b.app), "root")
	if err := os.MkdirAll(top, 0o755); err != nil {
		t.Fatal(err)
	}
	var lower []string
	for _, layer := range layers {
		lower = append([]string{layer}, lower...)
	}
	options := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + b.upper + ",workdir=" + b.workOverlay
	for _, dir := range []string{b.app, b.cache, b.env} {
		if out, err := exec.Command("chown", "-R", "10000:10000", dir).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v: %s", err, out)
		}
	}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--propagation", "private",
		"--", "bash", "-c", enter, "-", options, top, b.app, b.cache, b.env, b.buildpacks, script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// build asks every buildpack in order, as the platform does, and runs compile
// and release of the first that recognises the app.
func (b *box) build(t *testing.T) (name, output string, err error) {
	t.Helper()
	output, err = b.run(t, b.layers, `
for name in $(</tmp/buildpacks/ORDER); do
	pack=/tmp/buildpacks/$name
	if "$pack/bin/detect" /app; then
		echo "detected:$name"
		"$pack/bin/compile" /app /tmp/cache /tmp/env || exit
		echo "release:"
		exec "$pack/bin/release" /app
	fi
done
echo "detected:nothing"`)
	_, rest, _ := strings.Cut(output, "detected:")
	name, _, _ = strings.Cut(rest, "\n")
	return name, output, err
}

// serve starts a command in the run image as the platform does and returns
// what it answers to a GET of path.
func (b *box) serve(t *testing.T, command, path string) string {
	t.Helper()
	out, err := b.run(t, b.layers[:1], fmt.Sprintf(`
export PORT=8080
(
	for file in .profile.d/*.sh; do [ ! -f "$file" ] || . "$file"; done
	%s
) >/tmp/log 2>&1 &
until curl --silent --show-error --fail --max-time 5 "http://127.0.0.1:$PORT%s" 2>/tmp/curl; do
	if ((SECONDS > 30)) || ! kill -0 $!; then cat /tmp/curl /tmp/log; exit 1; fi
	sleep 0.05
done`, command, path))
	if err != nil {
		t.Fatalf("%s answers nothing: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(out)
}
