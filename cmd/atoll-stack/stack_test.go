package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"
)

var epoch = time.Unix(1_750_000_000, 0).UTC()

// tarFile writes a tar of headers; a file's content is its name.
func tarFile(t *testing.T, headers ...*tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, h.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "in.tar")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// entries lists a tar as "type name mode uid link".
func entries(t *testing.T, r io.Reader) (list []tar.Header) {
	t.Helper()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.After(epoch) {
			t.Errorf("%s is from %v, after %v", h.Name, h.ModTime, epoch)
		}
		list = append(list, tar.Header{Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Mode: h.Mode, Uid: h.Uid, Size: h.Size})
	}
}

func TestNormalise(t *testing.T) {
	later := epoch.Add(time.Hour)
	in, err := os.Open(tarFile(t,
		&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		&tar.Header{Typeflag: tar.TypeDir, Name: "./app/", Mode: 0o755, Uid: 10000, ModTime: later},
		&tar.Header{Typeflag: tar.TypeDir, Name: "./tmp/", Mode: 0o1777},
		&tar.Header{Typeflag: tar.TypeReg, Name: "./usr/bin/su", Mode: 0o4755, Uname: "root"},
		&tar.Header{Typeflag: tar.TypeLink, Name: "./usr/bin/su2", Linkname: "./usr/bin/su", Mode: 0o6755},
		&tar.Header{Typeflag: tar.TypeSymlink, Name: "./bin", Linkname: "usr/bin", Mode: 0o777},
		&tar.Header{Typeflag: tar.TypeChar, Name: "./dev/null", Devmajor: 1, Devminor: 3},
		&tar.Header{Typeflag: tar.TypeFifo, Name: "./run/pipe"},
		&tar.Header{Typeflag: tar.TypeChar, Name: "./etc/gone"},
		&tar.Header{Typeflag: tar.TypeDir, Name: "./etc/new", Mode: 0o755, PAXRecords: map[string]string{opaqueRecord: "y"}},
		&tar.Header{Typeflag: tar.TypeReg, Name: "./etc/new/file", Mode: 0o640, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}},
	))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out bytes.Buffer
	if err := normalise(&out, in, epoch); err != nil {
		t.Fatal(err)
	}
	want := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "app/", Mode: 0o755, Uid: 10000},
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		{Typeflag: tar.TypeReg, Name: "usr/bin/su", Mode: 0o755, Size: 12},
		{Typeflag: tar.TypeLink, Name: "usr/bin/su2", Linkname: "usr/bin/su", Mode: 0o755},
		{Typeflag: tar.TypeSymlink, Name: "bin", Linkname: "usr/bin", Mode: 0o777},
		{Typeflag: tar.TypeReg, Name: "etc/.wh.gone", Mode: 0o644},
		{Typeflag: tar.TypeDir, Name: "etc/new/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "etc/new/.wh..wh..opq", Mode: 0o644},
		{Typeflag: tar.TypeReg, Name: "etc/new/file", Mode: 0o640, Size: 14},
	}
	if diff := cmp.Diff(want, entries(t, &out)); diff != "" {
		t.Error(diff)
	}
}

func TestNormaliseRefusesWhatIsNoTar(t *testing.T) {
	if err := normalise(io.Discard, bytes.NewReader(bytes.Repeat([]byte("x"), 2000)), epoch); err == nil {
		t.Error("no error")
	}
}

func TestWrite(t *testing.T) {
	out := filepath.Join(t.TempDir(), "stack.oci")
	s := spec{
		Stack: "atoll-12", Out: out, Inputs: "first", Epoch: epoch,
		Base:  tarFile(t, &tar.Header{Typeflag: tar.TypeReg, Name: "./base", Mode: 0o644}),
		Tools: tarFile(t, &tar.Header{Typeflag: tar.TypeReg, Name: "./tool", Mode: 0o755}),
	}
	if err := s.write(); err != nil {
		t.Fatal(err)
	}
	run, build := image(t, out, "run"), image(t, out, "build")
	if got, want := digests(t, build)[:1], digests(t, run); !cmp.Equal(got, want) || len(digests(t, build)) != 2 {
		t.Errorf("the images share no base: %v and %v", digests(t, build), want)
	}
	config, err := run.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c := config.Config; c.User != "app" || c.WorkingDir != "/app" || c.Env[0] != "PATH="+appPath {
		t.Errorf("config: %+v", c)
	}

	// Once more over itself: the same layers, the new inputs, nothing left.
	before := digests(t, build)
	s.Inputs = "second"
	if err := s.write(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, digests(t, image(t, out, "build"))); diff != "" {
		t.Errorf("the same tars give other layers:\n%s", diff)
	}
	index, err := os.ReadFile(filepath.Join(out, "index.json"))
	if err != nil || !bytes.Contains(index, []byte("second")) || bytes.Contains(index, []byte("first")) {
		t.Errorf("index: %s, %v", index, err)
	}
	if names, _ := os.ReadDir(filepath.Dir(out)); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestWriteLeavesTheOldLayoutWhenItFails(t *testing.T) {
	out := filepath.Join(t.TempDir(), "stack.oci")
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	base := tarFile(t, &tar.Header{Typeflag: tar.TypeReg, Name: "./base", Mode: 0o644})
	err := spec{Stack: "s", Out: out, Inputs: "x", Epoch: epoch, Base: base, Tools: filepath.Join(t.TempDir(), "none")}.write()
	if err == nil {
		t.Error("no error")
	}
	if names, _ := os.ReadDir(filepath.Dir(out)); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

// image opens and fully checks an image of the layout.
func image(t *testing.T, dir, tag string) v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		name := "atoll.local/stack/atoll-12:" + tag
		if m.Annotations["io.containerd.image.name"] == name && m.Annotations["org.opencontainers.image.ref.name"] == name {
			img, err := index.Image(m.Digest)
			if err != nil {
				t.Fatal(err)
			}
			// The full check knows gzip only; the layers are checked below.
			if err := validate.Image(img, validate.Fast); err != nil {
				t.Errorf("%s: %v", tag, err)
			}
			checkLayers(t, img)
			return img
		}
	}
	t.Fatalf("no image %s", tag)
	return nil
}

// checkLayers compares the layers' content with the digests that promise it.
func checkLayers(t *testing.T, img v1.Image) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		decoder, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := decoder.DecodeAll(data, nil)
		decoder.Close()
		if err != nil {
			t.Fatal(err)
		}
		if digest, _ := l.Digest(); digest.Hex != fmt.Sprintf("%x", sha256.Sum256(data)) {
			t.Errorf("layer %d: wrong digest", i)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(plain)); got != config.RootFS.DiffIDs[i].Hex {
			t.Errorf("layer %d: wrong diff ID", i)
		}
	}
}

func digests(t *testing.T, img v1.Image) (all []string) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		d, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d.String())
	}
	return all
}
