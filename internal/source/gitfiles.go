package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// gitFiles lists the files of dir that git would not ignore, relative to dir.
// Asking git itself gives its exact rules: nested .gitignore files, negations,
// the user's global excludes. When dir lies in a repository, that one is
// asked, since tracked files stay although a pattern matches them; otherwise,
// or when that repository ignores dir as a whole, an empty temporary one.
func gitFiles(ctx context.Context, dir string) ([]string, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, refuse(CodeNoGit, "packing needs git, to leave out what .gitignore names; install it (apt-get install git)")
	}
	if inside, err := git(ctx, dir, "rev-parse", "--is-inside-work-tree"); err == nil && strings.TrimSpace(inside) == "true" {
		if files, err := listFiles(ctx, dir); err != nil || len(files) > 0 {
			return files, err
		}
	}
	temp, err := os.MkdirTemp("", "atoll-pack-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a temporary folder: %w", err)
	}
	defer os.RemoveAll(temp)
	if _, err := git(ctx, temp, "init", "--quiet", "--bare", temp); err != nil {
		return nil, err
	}
	return listFiles(ctx, dir, "--git-dir="+temp, "--work-tree="+dir)
}

// listFiles lists dir, and the repositories inside it: git does not look into
// those (submodules, or clones that are not tracked), but their files are part
// of the folder that is deployed.
func listFiles(ctx context.Context, dir string, options ...string) ([]string, error) {
	out, err := git(ctx, dir, append(options, "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z")...)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, name := range strings.Split(strings.TrimSuffix(out, "\x00"), "\x00") {
		if name == "" {
			continue
		}
		full := filepath.Join(dir, filepath.FromSlash(name))
		if info, err := os.Lstat(full); err != nil || !info.IsDir() {
			files = append(files, path.Clean(name))
			continue
		}
		if content, err := os.ReadDir(full); err == nil && len(content) == 0 {
			continue // a submodule that was not fetched
		}
		inner, err := gitFiles(ctx, full)
		if err != nil {
			return nil, err
		}
		for _, file := range inner {
			files = append(files, path.Join(name, file))
		}
	}
	return files, nil
}

// git runs git in dir without the caller's GIT_* variables, which could point
// it at another repository (in a git hook, for instance).
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") || strings.HasPrefix(v, "GIT_CONFIG") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("cannot list the files of %s: git: %s", dir, strings.TrimSpace(stderr.String()))
		}
		return "", fmt.Errorf("cannot run git: %w", err)
	}
	return stdout.String(), nil
}
