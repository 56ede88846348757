// Package buildpacks holds the built-in buildpacks: small Bash programs in the
// classic shape, bin/detect BUILD_DIR, bin/compile BUILD_DIR CACHE_DIR ENV_DIR
// and bin/release BUILD_DIR (BU-16 to BU-18). They run inside the stack's
// build image as its unprivileged user, with BUILD_DIR at /app, where the
// result will run.
//
// It imports nothing of ours and runs nothing; it only brings the files along
// in the program.
package buildpacks

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files are the buildpacks, each a folder by its name, and lib.sh, which they
// share.
//
//go:embed lib.sh binary go nodejs python static
var Files embed.FS

// Order are the names of the buildpacks in the order in which they are asked:
// languages alphabetically (BU-10), then static, since many apps also have an
// index.html, and binary, which takes whatever has a Procfile.
var Order = []string{"go", "nodejs", "python", "static", "binary"}

// Install writes the buildpacks below dir, which is made when it is missing:
// dir/<name>/bin/detect and so on, executable by everybody, and dir/ORDER with
// one name per line. Older files of the same names are replaced.
func Install(dir string) error {
	err := fs.WalkDir(Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		data, err := Files.ReadFile(name)
		if err != nil {
			return err
		}
		return write(to, data)
	})
	if err == nil {
		err = write(filepath.Join(dir, "ORDER"), []byte(strings.Join(Order, "\n")+"\n"))
	}
	if err != nil {
		return fmt.Errorf("cannot install the built-in buildpacks in %s: %w", dir, err)
	}
	return nil
}

// write writes a file with mode 0755 whatever the umask.
func write(name string, data []byte) error {
	if err := os.WriteFile(name, data, 0o755); err != nil {
		return err
	}
	return os.Chmod(name, 0o755)
}
