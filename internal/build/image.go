package build

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// annotation under which images are found in a layout.
const imageName = "io.containerd.image.name"

// writeImage lays app as one layer on the stack's run image and writes the
// result as an OCI image layout. The stack's blobs are linked, not copied:
// an app's image costs its own layer only. It returns that layer's size.
func (b *Builder) writeImage(ctx context.Context, req Request, app, dir string) (int64, error) {
	base, err := b.runImage()
	if err != nil {
		return 0, err
	}
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return 0, fmt.Errorf("cannot write the image: %w", err)
	}
	layer, err := packLayer(ctx, app, blobs)
	if err != nil {
		return 0, fmt.Errorf("cannot write the app's layer: %w", err)
	}
	if layer.size > MaxImageSize {
		return 0, failf("the app's layer has %d MiB, at most %d are allowed: leave files out with .slugignore", layer.size>>20, MaxImageSize>>20)
	}
	image, err := mutate.Append(base, mutate.Addendum{Layer: layer, MediaType: types.OCILayerZStd,
		History: v1.History{CreatedBy: "atoll build " + req.AppName}})
	if err != nil {
		return 0, fmt.Errorf("cannot make the image: %w", err)
	}
	if err := b.linkBaseLayers(base, blobs); err != nil {
		return 0, err
	}
	return layer.size, writeLayout(dir, blobs, image, req.ImageRef)
}

// runImage opens the stack's run image.
func (b *Builder) runImage() (v1.Image, error) {
	const advice = "build the stack first (make stack)"
	path, err := layout.FromPath(b.cfg.StackLayout)
	if err != nil {
		return nil, fmt.Errorf("cannot open the stack image in %s: %w; %s", b.cfg.StackLayout, err, advice)
	}
	index, err := path.ImageIndex()
	if err != nil {
		return nil, fmt.Errorf("cannot read the stack image in %s: %w; %s", b.cfg.StackLayout, err, advice)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("cannot read the stack image in %s: %w; %s", b.cfg.StackLayout, err, advice)
	}
	for _, m := range manifest.Manifests {
		if m.Annotations[imageName] == b.cfg.Stack.RunRef {
			return index.Image(m.Digest)
		}
	}
	return nil, fmt.Errorf("the layout %s has no image %s; %s", b.cfg.StackLayout, b.cfg.Stack.RunRef, advice)
}

// linkBaseLayers makes the base image's layers appear in blobs.
func (b *Builder) linkBaseLayers(base v1.Image, blobs string) error {
	layers, err := base.Layers()
	if err != nil {
		return fmt.Errorf("cannot read the stack image: %w", err)
	}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return fmt.Errorf("cannot read the stack image: %w", err)
		}
		from := filepath.Join(b.cfg.StackLayout, "blobs", "sha256", digest.Hex)
		to := filepath.Join(blobs, digest.Hex)
		// A link cannot cross file systems; a symbolic one can.
		if err := os.Link(from, to); err != nil {
			if from, err = filepath.Abs(from); err == nil {
				err = os.Symlink(from, to)
			}
			if err != nil {
				return fmt.Errorf("cannot link the stack's layer into the image: %w", err)
			}
		}
	}
	return nil
}

// writeLayout writes config, manifest and index of an image whose layers are
// in blobs already.
func writeLayout(dir, blobs string, image v1.Image, ref string) error {
	config, err := image.RawConfigFile()
	if err != nil {
		return fmt.Errorf("cannot make the image's config: %w", err)
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return fmt.Errorf("cannot make the image's manifest: %w", err)
	}
	mediaType, err := image.MediaType()
	if err != nil {
		return fmt.Errorf("cannot make the image's manifest: %w", err)
	}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: mediaType, Size: int64(len(manifest)), Digest: v1.Hash{Algorithm: "sha256", Hex: sum(manifest)},
		Annotations: map[string]string{imageName: ref, "org.opencontainers.image.ref.name": ref},
		Platform:    &v1.Platform{OS: "linux", Architecture: architecture(image)},
	}}})
	if err != nil {
		return fmt.Errorf("cannot make the image's index: %w", err)
	}
	files := map[string][]byte{
		filepath.Join(blobs, sum(config)):   config,
		filepath.Join(blobs, sum(manifest)): manifest,
		filepath.Join(dir, "index.json"):    index,
		filepath.Join(dir, "oci-layout"):    []byte(`{"imageLayoutVersion":"1.0.0"}`),
	}
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("cannot write the image: %w", err)
		}
	}
	return nil
}

func architecture(image v1.Image) string {
	if c, err := image.ConfigFile(); err == nil && c.Architecture != "" {
		return c.Architecture
	}
	return "amd64"
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// appLayer is a layer that lies as a file in the layout's blobs.
type appLayer struct {
	path           string
	digest, diffID v1.Hash
	size           int64
}

// Digest, DiffID and the others are v1.Layer.
func (l *appLayer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *appLayer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *appLayer) Size() (int64, error)                { return l.size, nil }
func (l *appLayer) MediaType() (types.MediaType, error) { return types.OCILayerZStd, nil }
func (l *appLayer) Compressed() (io.ReadCloser, error)  { return os.Open(l.path) }
func (l *appLayer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// packLayer writes the tree below app as a zstd tar named by its digest.
func packLayer(ctx context.Context, app, blobs string) (*appLayer, error) {
	tmp, err := os.CreateTemp(blobs, "layer-")
	if err != nil {
		return nil, err
	}
	defer tmp.Close()
	compressed, plain := sha256.New(), sha256.New()
	z, err := zstd.NewWriter(io.MultiWriter(tmp, compressed), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, err
	}
	if err := writeTree(ctx, io.MultiWriter(z, plain), app); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	info, err := tmp.Stat()
	if err != nil {
		return nil, err
	}
	l := &appLayer{digest: v1Hash(compressed), diffID: v1Hash(plain), size: info.Size()}
	l.path = filepath.Join(blobs, l.digest.Hex)
	return l, os.Rename(tmp.Name(), l.path)
}

func v1Hash(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// writeTree writes app as the folder app/ of a tar. Owners become the
// stack's user, times are left out: equal sources make equal layers.
func writeTree(ctx context.Context, w io.Writer, app string) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(app, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel, err := filepath.Rel(app, path)
		if err != nil {
			return err
		}
		return writeEntry(t, path, filepath.Join("app", rel))
	})
	if err != nil {
		return err
	}
	return t.Close()
}

func writeEntry(t *tar.Writer, path, name string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	link := ""
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	case !info.Mode().IsRegular() && !info.IsDir():
		// A build may leave sockets and pipes; they mean nothing in an image.
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = filepath.ToSlash(name)
	if info.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid, h.Uname, h.Gname = stackUID, stackGID, "", ""
	h.ModTime, h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}, time.Time{}
	h.Format = tar.FormatPAX
	h.Mode &= 0o777
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(t, f, info.Size())
	return err
}
