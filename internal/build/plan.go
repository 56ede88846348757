package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/cronfile"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/procfile"
)

// plan is what the source says about its process types before anything is
// built, so that a bad Procfile fails in a second and not after the build.
type plan struct {
	procfile   map[string]string
	postdeploy string
	jobs       []cronfile.Job
	warnings   []string
}

// readPlan reads the Procfile and the cron.json of dir; none is fine.
func readPlan(dir string) (plan, error) {
	p, err := readProcfile(dir)
	if err != nil {
		return p, err
	}
	if p.jobs, err = readJobs(dir); err != nil {
		return p, err
	}
	if _, ok := p.procfile[platform.TypeCron]; ok && len(p.jobs) > 0 {
		p.warnings = append(p.warnings, "the process type cron has the same names (1.cron...) as the runs of cron.json; its containers come first, but call it otherwise to tell them apart")
	}
	return p, nil
}

// open opens a file of the source, nil when there is none. Lstat first: a link
// or a device is not opened.
func open(dir, name string) (*os.File, error) {
	info, err := os.Lstat(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || !info.Mode().IsRegular() {
		return nil, failf("%s must be a regular file", name)
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return f, nil
}

// readJobs reads the scheduled tasks.
func readJobs(dir string) ([]cronfile.Job, error) {
	f, err := open(dir, "cron.json")
	if f == nil || err != nil {
		return nil, err
	}
	defer f.Close()
	jobs, err := cronfile.Parse(f)
	var refused *cronfile.Error
	if errors.As(err, &refused) {
		return nil, failf("%v", refused)
	}
	if err != nil {
		return nil, err
	}
	for i := range jobs {
		if jobs[i].Size == "" {
			jobs[i].Size = platform.DefaultSize
		}
		if _, err := platform.SizeByName(jobs[i].Size); err != nil {
			return nil, failf("cron.json, job %d: %v", i+1, err)
		}
	}
	return jobs, nil
}

func readProcfile(dir string) (plan, error) {
	var p plan
	f, err := open(dir, "Procfile")
	if f == nil || err != nil {
		return p, err
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
