package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
)

// bareRunc starts the same image with runc alone: a new overlay over the
// unpacked image, a bundle, `runc run -d`.
type bareRunc struct {
	dir, image, cgroup string
}

func openRunc(l *lab.Lab, dir, stack string) (*bareRunc, error) {
	r := &bareRunc{dir: dir, image: filepath.Join(dir, "image"), cgroup: l.CgroupParent() + "/runc"}
	if err := os.MkdirAll(r.image, 0o755); err != nil {
		return nil, err
	}
	path, err := layout.FromPath(filepath.Join(stack, "atoll-12.oci"))
	if err != nil {
		return nil, err
	}
	index, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if m.Annotations["io.containerd.image.name"] != runRef {
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
		for _, layer := range layers {
			digest, err := layer.Digest()
			if err != nil {
				return nil, err
			}
			blob := filepath.Join(stack, "atoll-12.oci", "blobs", "sha256", digest.Hex)
			if out, err := exec.Command("tar", "--zstd", "-xf", blob, "-C", r.image).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("cannot unpack the image: %w: %s", err, out)
			}
		}
		return r, nil
	}
	return nil, fmt.Errorf("the stack has no image %s", runRef)
}

// atOnce is how many starts run side by side, as in the engine.
const atOnce = 8

func (r *bareRunc) start(ctx context.Context, n int) (time.Duration, error) {
	// What says how to run it is made before the time counts: `runc spec` is a
	// process of its own, which nobody who starts containers would run.
	for i := range n {
		if err := r.describe(ctx, fmt.Sprintf("bench-%d", i)); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() error { return r.run(ctx, fmt.Sprintf("bench-%d", i)) })
	}
	err := g.Wait()
	took := time.Since(begun)
	var errs []error
	for i := range n {
		errs = append(errs, r.remove(ctx, fmt.Sprintf("bench-%d", i)))
	}
	return took, errors.Join(append(errs, err)...)
}

func (r *bareRunc) run(ctx context.Context, id string) error {
	bundle := filepath.Join(r.dir, id)
	for _, sub := range []string{"upper", "work", "rootfs"} {
		if err := os.MkdirAll(filepath.Join(bundle, sub), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", r.image, bundle, bundle)
	if err := unix.Mount("overlay", filepath.Join(bundle, "rootfs"), "overlay", 0, options); err != nil {
		return fmt.Errorf("cannot mount an overlay: %w", err)
	}
	// Output to a file, not a pipe: the container holds it open.
	cmd := exec.CommandContext(ctx, "runc", "--root", filepath.Join(r.dir, "state"), "run", "--detach", "--bundle", bundle, id)
	log, err := os.Create(filepath.Join(bundle, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("runc run: %w: %s", err, text)
	}
	return nil
}

// describe writes the config.json of a container's bundle.
func (r *bareRunc) describe(ctx context.Context, id string) error {
	bundle := filepath.Join(r.dir, id)
	if err := os.MkdirAll(bundle, 0o755); err != nil {
		return err
	}
	if out, err := r.runc(ctx, "spec", "--bundle", bundle); err != nil {
		return fmt.Errorf("runc spec: %w: %s", err, out)
	}
	return r.edit(filepath.Join(bundle, "config.json"), id)
}

func (r *bareRunc) edit(file, id string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal(text, &spec); err != nil {
		return err
	}
	process := spec["process"].(map[string]any)
	process["args"], process["terminal"] = []string{"/bin/bash", "-c", "exec sleep 1000"}, false
	spec["root"] = map[string]any{"path": "rootfs"}
	spec["linux"].(map[string]any)["cgroupsPath"] = r.cgroup + "/" + id
	if text, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

func (r *bareRunc) remove(ctx context.Context, id string) error {
	bundle := filepath.Join(r.dir, id)
	if out, err := r.runc(ctx, "delete", "--force", id); err != nil {
		return fmt.Errorf("runc delete: %w: %s", err, out)
	}
	if err := unix.Unmount(filepath.Join(bundle, "rootfs"), 0); err != nil {
		return fmt.Errorf("cannot unmount an overlay: %w", err)
	}
	return os.RemoveAll(bundle)
}

func (r *bareRunc) runc(ctx context.Context, args ...string) ([]byte, error) {
	return exec.CommandContext(ctx, "runc", append([]string{"--root", filepath.Join(r.dir, "state")}, args...)...).CombinedOutput()
}
