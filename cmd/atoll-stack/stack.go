package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// inputsAnnotation holds spec.Inputs on each manifest; build-stack.sh looks
// for its value to know whether a layout is current.
const inputsAnnotation = "dev.atoll.stack.inputs"

// appPath is the default PATH of containers (EV-13).
const appPath = "/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/app/bin"

// spec says which layout to write.
type spec struct {
	Stack       string // for instance "atoll-12"
	Base, Tools string // tar files
	Out         string // the layout's directory
	Inputs      string // hash of what the tars were made from
	Epoch       time.Time
}

// write makes the layout beside its final place and swaps it in at the end:
// whoever looks sees the old layout or the new one, never half of one.
func (s spec) write() error {
	tmp, err := os.MkdirTemp(filepath.Dir(s.Out), ".layout.")
	if err != nil {
		return fmt.Errorf("cannot write beside %s: %w", s.Out, err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("cannot open %s to readers: %w", tmp, err)
	}

	blobs, err := os.MkdirTemp(filepath.Dir(s.Out), ".blobs.")
	if err != nil {
		return fmt.Errorf("cannot write beside %s: %w", s.Out, err)
	}
	defer os.RemoveAll(blobs)
	base, err := newLayer(s.Base, filepath.Join(blobs, "base"), s.Epoch)
	if err != nil {
		return err
	}
	tools, err := newLayer(s.Tools, filepath.Join(blobs, "tools"), s.Epoch)
	if err != nil {
		return err
	}

	path, err := layout.Write(tmp, empty.Index)
	if err != nil {
		return fmt.Errorf("cannot start the layout: %w", err)
	}
	if err := s.add(path, "run", base); err != nil {
		return err
	}
	if err := s.add(path, "build", base, tools); err != nil {
		return err
	}
	return replaceDir(tmp, s.Out)
}

// add appends the image atoll.local/stack/<stack>:<tag> to the layout.
func (s spec) add(path layout.Path, tag string, layers ...v1.Layer) error {
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	image, err := mutate.AppendLayers(image, layers...)
	if err != nil {
		return fmt.Errorf("cannot assemble image %s: %w", tag, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("cannot read the config of image %s: %w", tag, err)
	}
	config = config.DeepCopy()
	config.OS = "linux"
	config.Architecture = runtime.GOARCH
	config.Created = v1.Time{Time: s.Epoch}
	config.Config = v1.Config{
		Env:        []string{"PATH=" + appPath, "HOME=/app", "LANG=C.UTF-8", "STACK=" + s.Stack},
		User:       "app",
		WorkingDir: "/app",
		Cmd:        []string{"/bin/bash"},
		Labels:     map[string]string{inputsAnnotation: s.Inputs},
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return fmt.Errorf("cannot set the config of image %s: %w", tag, err)
	}

	name := "atoll.local/stack/" + s.Stack + ":" + tag
	err = path.AppendImage(image,
		layout.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}),
		layout.WithAnnotations(map[string]string{
			"io.containerd.image.name":           name,
			"org.opencontainers.image.ref.name":  name,
			"org.opencontainers.image.base.name": "debian:12",
			inputsAnnotation:                     s.Inputs,
		}))
	if err != nil {
		return fmt.Errorf("cannot write image %s: %w", name, err)
	}
	return nil
}

// replaceDir puts the directory fresh in the place of old, atomically also
// when old exists.
func replaceDir(fresh, old string) error {
	err := unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, old, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		err = os.Rename(fresh, old)
	}
	if err != nil {
		return fmt.Errorf("cannot put the new layout at %s: %w", old, err)
	}
	return os.RemoveAll(fresh) // the former layout, now under this name
}
