package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImportLayout implements engine.Images. When the layout holds several
// images, the one with the annotation "org.opencontainers.image.ref.name"
// (or containerd's own) equal to ref is taken.
func (e *Engine) ImportLayout(ctx context.Context, dir, ref string) error {
	target, err := findInLayout(dir, ref)
	if err != nil {
		return err
	}
	e.images.importing.Lock()
	defer e.images.importing.Unlock()
	// Until the image has a name, the lease keeps the garbage collection
	// away from what is copied.
	ctx, release, err := e.client.WithLease(ctx)
	if err != nil {
		return fmt.Errorf("cannot import image %s: %w", ref, err)
	}
	defer func() { _ = release(context.WithoutCancel(ctx)) }() // it expires on its own in any case
	if err := e.copyLayout(ctx, dir, target); err != nil {
		return fmt.Errorf("cannot import image %s: %w", ref, err)
	}
	img := images.Image{Name: ref, Target: target}
	service := e.client.ImageService()
	if _, err := service.Create(ctx, img); errdefs.IsAlreadyExists(err) {
		_, err = service.Update(ctx, img, "target")
		if err != nil {
			return fmt.Errorf("cannot replace image %s: %w", ref, err)
		}
	} else if err != nil {
		return fmt.Errorf("cannot name image %s: %w", ref, err)
	}
	if err := client.NewImage(e.client, img).Unpack(ctx, snapshotter); err != nil {
		return fmt.Errorf("cannot unpack image %s: %w", ref, err)
	}
	return nil
}

// HasImage implements engine.Images.
func (e *Engine) HasImage(ctx context.Context, ref string) (bool, error) {
	img, err := e.client.GetImage(ctx, ref)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look for image %s: %w", ref, err)
	}
	ok, err := img.IsUnpacked(ctx, snapshotter)
	if err != nil && !errdefs.IsNotFound(err) {
		return false, fmt.Errorf("cannot look at image %s: %w", ref, err)
	}
	return ok, nil
}

// DeleteImage implements engine.Images.
func (e *Engine) DeleteImage(ctx context.Context, ref string) error {
	if err := e.client.ImageService().Delete(ctx, ref); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("cannot delete image %s: %w", ref, err)
	}
	return nil
}

// Private

// findInLayout returns the descriptor of an image in an OCI image layout.
func findInLayout(dir, ref string) (ocispec.Descriptor, error) {
	var index ocispec.Index
	text, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%s is no OCI image layout: %w", dir, err)
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%s is no OCI image layout, its index cannot be read: %w", dir, err)
	}
	var names []string
	for _, m := range index.Manifests {
		own := []string{m.Annotations[images.AnnotationImageName], m.Annotations[ocispec.AnnotationRefName]}
		if slices.Contains(own, ref) || len(index.Manifests) == 1 && m.Digest != "" {
			m.Annotations = nil
			return m, m.Digest.Validate()
		}
		names = append(names, own[0])
	}
	return ocispec.Descriptor{}, fmt.Errorf("the image layout %s has no image %s; it has %q", dir, ref, names)
}

// copyLayout copies what an image consists of, except what containerd has,
// and links it so that the garbage collection sees it as one.
func (e *Engine) copyLayout(ctx context.Context, dir string, target ocispec.Descriptor) error {
	store := e.client.ContentStore()
	copyBlob := func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if err := d.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("bad digest %q: %w", d.Digest, err)
		}
		f, err := os.Open(filepath.Join(dir, "blobs", d.Digest.Algorithm().String(), d.Digest.Encoded()))
		if err != nil {
			return nil, fmt.Errorf("the image layout is not complete: %w", err)
		}
		defer f.Close()
		// Opening the writer tells what is there already, before any copying.
		return nil, content.WriteBlob(ctx, store, remotes.MakeRefKey(ctx, d), f, d)
	}
	children := images.SetChildrenLabels(store, images.ChildrenHandler(store))
	return images.Dispatch(ctx, images.Handlers(images.HandlerFunc(copyBlob), children), nil, target)
}

// user is who a container runs as.
type user struct{ UID, GID uint32 }

// imageInfo is what is needed to run an image.
type imageInfo struct {
	root string // the chain id of its layers: the parent of containers' file systems
	user user
	env  []string
}

// imageCache remembers what was found out about images, by digest.
type imageCache struct {
	client    *client.Client
	importing sync.Mutex // unpacking the same layers twice at a time fails

	mu    sync.Mutex
	known map[string]imageInfo
}

func newImageCache(c *client.Client) *imageCache {
	return &imageCache{client: c, known: map[string]imageInfo{}}
}

func (c *imageCache) info(ctx context.Context, ref string) (imageInfo, error) {
	img, err := c.client.GetImage(ctx, ref)
	if errdefs.IsNotFound(err) {
		return imageInfo{}, fmt.Errorf("the image %s is not on this machine; deploy the app again", ref)
	}
	if err != nil {
		return imageInfo{}, fmt.Errorf("cannot look at image %s: %w", ref, err)
	}
	digest := img.Target().Digest.String()
	c.mu.Lock()
	defer c.mu.Unlock()
	if info, ok := c.known[digest]; ok {
		return info, nil
	}
	layers, err := img.RootFS(ctx)
	if err != nil {
		return imageInfo{}, fmt.Errorf("cannot read the layers of image %s: %w", ref, err)
	}
	spec, err := img.Spec(ctx)
	if err != nil {
		return imageInfo{}, fmt.Errorf("cannot read the configuration of image %s: %w", ref, err)
	}
	info := imageInfo{root: identity.ChainID(layers).String(), env: spec.Config.Env}
	if info.user, err = c.user(ctx, info.root, spec.Config.User); err != nil {
		return imageInfo{}, fmt.Errorf("cannot tell who image %s runs as: %w", ref, err)
	}
	c.known[digest] = info
	return info, nil
}
