package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/procfile"
)

// plan is what the source says about its process types before anything is
// built, so that a bad Procfile fails in a second and not after the build.
type plan struct {
	procfile   map[string]string
	postdeploy string
	warnings   []string
}

// readPlan reads the Procfile of dir; none is fine.
func readPlan(dir string) (plan, error) {
	var p plan
	// Lstat first: a Procfile that is a link or a device is not opened.
	info, err := os.Lstat(filepath.Join(dir, "Procfile"))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return p, failf("Procfile must be a regular file")
	}
	f, err := os.Open(filepath.Join(dir, "Procfile"))
	if err != nil {
		return p, fmt.Errorf("cannot read the Procfile: %w", err)
	}
	defer f.Close()
	entries, warnings, err := procfile.Parse(f)
	if err != nil {
		return p, failf("the Procfile is refused: %v", err)
	}
	p.procfile = map[string]string{}
	for _, e := range entries {
		if e.Name == platform.TypePostdeploy {
			p.postdeploy = e.Command
			continue
		}
		p.procfile[e.Name] = e.Command
	}
	p.warnings = append(p.warnings, warnings...)
	return p, nil
}

// commands merges the buildpack's default process types below the
// Procfile's, which wins.
func (p plan) commands(releasePath string) (map[string]string, error) {
	out := map[string]string{}
	text, err := os.ReadFile(releasePath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read what bin/release printed: %w", err)
	}
	var release struct {
		DefaultProcessTypes map[string]string `yaml:"default_process_types"`
	}
	if err := yaml.Unmarshal(text, &release); err != nil {
		return nil, failf("bin/release of the buildpack printed no valid YAML: %v", err)
	}
	for name, command := range release.DefaultProcessTypes {
		if err := platform.ValidateProcessType(name); err != nil {
			return nil, failf("the buildpack's default process types: %v", err)
		}
		if name == platform.TypePostdeploy {
			continue // only the app itself says what is run at a deployment
		}
		// A Procfile without web is a choice, but buildpacks give web also
		// then (PT-10, PT-15): it is scaled to 0 by those who do not want it.
		out[name] = command
	}
	for name, command := range p.procfile {
		out[name] = command
	}
	for name, command := range out {
		if strings.TrimSpace(command) == "" {
			delete(out, name)
		}
	}
	if len(out) == 0 {
		return nil, failf("nothing says how to start this app: add a Procfile with a line such as \"web: bin/server\"")
	}
	return out, nil
}
