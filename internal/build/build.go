package build

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/atollhq/atoll/buildpacks"
	"github.com/atollhq/atoll/internal/cronfile"
	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/source"
)

// Limits of a build (BU-5, BU-6).
const (
	Timeout      = 30 * time.Minute
	buildMemory  = 8 << 30
	buildPIDs    = 4096
	MaxImageSize = 2 << 30
)

// The unprivileged user of the stack image.
const (
	stackUID = 10000
	stackGID = 10000
)

//go:embed driver.sh
var driver []byte

// Engine runs build containers; an engine.Engine does.
type Engine interface {
	Run(ctx context.Context, j engine.Job) (int, error)
}

// Config is what a Builder needs.
type Config struct {
	// Dir is the builder's folder: builds under way, caches, buildpacks.
	Dir string
	// StackLayout is the OCI image layout folder with the stack's run and
	// build images.
	StackLayout string
	Stack       Stack
	Engine      Engine
	// Concurrency is how many builds run at once; more wait. Default 2.
	Concurrency int
	Log         *slog.Logger
}

// Stack names the two images of a stack.
type Stack struct {
	Name     string
	RunRef   string
	BuildRef string
}

// Builder builds. It is safe for concurrent use.
type Builder struct {
	cfg   Config
	slots chan struct{}
}

// New prepares the folder: the built-in buildpacks are written, what a
// killed process left of its builds is removed.
func New(cfg Config) (*Builder, error) {
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 2
	}
	b := &Builder{cfg: cfg, slots: make(chan struct{}, cfg.Concurrency)}
	for _, stale := range []string{b.path("work"), b.path("buildpacks")} {
		if err := os.RemoveAll(stale); err != nil {
			return nil, fmt.Errorf("cannot remove left-over builds: %w", err)
		}
	}
	for _, dir := range []string{"work", "caches", "buildpacks"} {
		if err := os.MkdirAll(b.path(dir), 0o755); err != nil {
			return nil, fmt.Errorf("cannot prepare the build folder: %w", err)
		}
	}
	if err := buildpacks.Install(b.path("buildpacks")); err != nil {
		return nil, fmt.Errorf("cannot install the built-in buildpacks: %w", err)
	}
	if err := os.WriteFile(b.path("driver.sh"), driver, 0o755); err != nil { //nolint:gosec // it is to be executed inside
		return nil, fmt.Errorf("cannot install the build driver: %w", err)
	}
	return b, nil
}

// Request is one build.
type Request struct {
	// ID is unique; a UUID.
	ID      string
	AppID   string
	AppName string
	// Archive is the source: a gzip'd tar with one top folder.
	Archive string
	// Version is SOURCE_VERSION for the buildpack and the image's version.
	Version string
	// Variables are the app's variables, aliases resolved.
	Variables map[string]string
	// ImageRef is the name the image gets in its layout.
	ImageRef string
	// Output gets what the user sees of the build.
	Output io.Writer
}

// Result is a finished build. Call Remove when its layout is not needed any
// more.
type Result struct {
	// Layout is an OCI image layout folder with the image ImageRef.
	Layout string
	// Commands maps process types to commands.
	Commands map[string]string
	// Postdeploy is the command of the deployment's hook, "" without one.
	Postdeploy string
	// Jobs are the scheduled tasks, with their sizes.
	Jobs []cronfile.Job
	// Size is the app layer in bytes, compressed.
	Size int64

	dir string
}

// Remove deletes the build's files.
func (r Result) Remove() error { return os.RemoveAll(r.dir) }

// Error is a failed build whose text is for the user.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func failf(format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...)}
}

// Build builds. It waits for a free slot first. An *Error is the user's to
// mend, anything else is a fault of the machine.
func (b *Builder) Build(ctx context.Context, req Request) (res Result, err error) {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return res, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, Timeout, failf("the build took longer than %v and was stopped", Timeout))
	defer cancel()

	w := workspace{root: b.path("work", req.ID), cache: b.path("caches", req.AppID)}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(w.root))
		}
	}()
	if err := b.prepare(ctx, req, &w); err != nil {
		return res, err
	}
	plan, err := readPlan(w.app)
	if err != nil {
		return res, err
	}
	for _, warning := range plan.warnings {
		fmt.Fprintf(req.Output, " !     %s\n", warning)
	}
	if err := b.runBuildpack(ctx, req, w); err != nil {
		return res, err
	}
	if res.Commands, err = plan.commands(w.release()); err != nil {
		return res, err
	}
	res.Postdeploy, res.Jobs = plan.postdeploy, plan.jobs
	if err := source.ApplySlugignore(w.app); err != nil {
		return res, failf("cannot apply .slugignore: %v", err)
	}
	res.dir, res.Layout = w.root, filepath.Join(w.root, "layout")
	res.Size, err = b.writeImage(ctx, req, w.app, res.Layout)
	return res, err
}

// DeleteCache removes the build cache of an app (BU-23).
func (b *Builder) DeleteCache(appID string) error {
	if err := os.RemoveAll(b.path("caches", appID)); err != nil {
		return fmt.Errorf("cannot delete the build cache: %w", err)
	}
	return nil
}

// Private

func (b *Builder) path(parts ...string) string {
	return filepath.Join(append([]string{b.cfg.Dir}, parts...)...)
}

// workspace is the folders of one build.
type workspace struct {
	root  string
	cache string
	// app is what becomes /app: the unpacked source or its PROJECT_DIR.
	app string
}

func (w workspace) env() string     { return filepath.Join(w.root, "env") }
func (w workspace) out() string     { return filepath.Join(w.root, "out") }
func (w workspace) release() string { return filepath.Join(w.out(), "release.yml") }

// prepare unpacks the source and lays out the folders the buildpack sees.
func (b *Builder) prepare(ctx context.Context, req Request, w *workspace) error {
	// The folder itself stays root's: the archive is unpacked in it.
	for _, dir := range []string{w.cache, w.env(), w.out()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot prepare the build: %w", err)
		}
		if err := os.Chown(dir, stackUID, stackGID); err != nil {
			return fmt.Errorf("cannot prepare the build: %w", err)
		}
	}
	archive, err := os.Open(req.Archive)
	if err != nil {
		return fmt.Errorf("cannot open the source archive: %w", err)
	}
	defer archive.Close()
	src := filepath.Join(w.root, "source")
	limits := source.DefaultLimits()
	limits.UID, limits.GID = stackUID, stackGID
	if _, err := source.Unpack(ctx, archive, src, limits); err != nil {
		var refused *source.Error
		if errors.As(err, &refused) {
			return failf("the source archive is refused: %v", refused)
		}
		return fmt.Errorf("cannot unpack the source archive: %w", err)
	}
	if w.app, err = projectDir(src, req.Variables["PROJECT_DIR"]); err != nil {
		return err
	}
	for name, value := range req.Variables {
		path := filepath.Join(w.env(), name)
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			return fmt.Errorf("cannot write the build environment: %w", err)
		}
		if err := os.Chown(path, stackUID, stackGID); err != nil {
			return fmt.Errorf("cannot write the build environment: %w", err)
		}
	}
	return nil
}

// projectDir finds the folder PROJECT_DIR names inside the source (BU-15);
// links in it may not lead outside.
func projectDir(src, dir string) (string, error) {
	if dir == "" {
		return src, nil
	}
	path, err := filepath.EvalSymlinks(filepath.Join(src, filepath.Clean("/"+dir)))
	if err != nil {
		return "", failf("PROJECT_DIR is %q, but the source has no such folder: correct the variable or the source", dir)
	}
	rel, err := filepath.Rel(src, path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || !filepath.IsLocal(rel) || !info.IsDir() {
		return "", failf("PROJECT_DIR is %q, which is no folder inside the source: correct the variable", dir)
	}
	return path, nil
}

// runBuildpack runs the driver in a build container.
func (b *Builder) runBuildpack(ctx context.Context, req Request, w workspace) error {
	env := map[string]string{
		"HOME": "/app", "APP": req.AppName, "SOURCE_VERSION": req.Version, "STACK": b.cfg.Stack.Name, "LANG": "C.UTF-8",
		"PATH":                 "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"ATOLL_BUILDPACK_NAME": req.Variables["BUILDPACK_NAME"],
		"ATOLL_BUILDPACK_URL":  req.Variables["BUILDPACK_URL"],
	}
	code, err := b.cfg.Engine.Run(ctx, engine.Job{
		ID: req.ID, Image: b.cfg.Stack.BuildRef, Dir: "/app", Env: env,
		Args: []string{"/bin/bash", "/build/driver.sh"},
		Mounts: []engine.Mount{
			{Source: w.app, Target: "/app"},
			{Source: w.cache, Target: "/build/cache"},
			{Source: w.env(), Target: "/build/env", ReadOnly: true},
			{Source: w.out(), Target: "/build/out"},
			{Source: b.path("buildpacks"), Target: "/build/buildpacks", ReadOnly: true},
			{Source: b.path("driver.sh"), Target: "/build/driver.sh", ReadOnly: true},
		},
		Memory: buildMemory, PIDs: buildPIDs, Outside: true, Output: req.Output,
	})
	switch {
	case err != nil:
		return fmt.Errorf("cannot run the build container: %w", err)
	case code == exitUnknown:
		return failf("no buildpack recognises this app: add a file that one looks for (go.mod, package.json, requirements.txt, index.html), or a Procfile with ready-to-run files, or set BUILDPACK_NAME or BUILDPACK_URL")
	case code == 137:
		return failf("the build was killed (exit code 137): it needed more than %d GiB of memory", buildMemory>>30)
	case code != 0:
		return failf("invalid return code from buildpack: %d; the lines above say why", code)
	}
	return nil
}

// exitUnknown is the driver's exit code when nothing was detected.
const exitUnknown = 97
