package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// slugignoreFile lists what is not wanted in the image (BU-25).
const slugignoreFile = ".slugignore"

// maxSlugignore is the largest .slugignore read, in bytes.
const maxSlugignore = 64 << 10

// slugignore is a parsed .slugignore: patterns relative to the project's root
// in filepath.Match syntax, where "*" does not cross a "/". A folder that
// matches takes everything below it along.
type slugignore []string

// ApplySlugignore removes from the folder dir what its .slugignore names. It
// runs on the result of a build, whose content is not to be trusted: it never
// follows a symbolic link. Without a .slugignore it does nothing; a bad
// pattern is an *Error, and nothing is removed then.
func ApplySlugignore(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", dir, err)
	}
	defer root.Close()
	ignore, err := readSlugignore(root)
	if err != nil || len(ignore) == 0 {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		// "*" matches ".", but the project itself is never meant.
		if name == "." || !ignore.matches(name) {
			return nil
		}
		if err := root.RemoveAll(name); err != nil {
			return err
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot remove what %s names: %w", slugignoreFile, err)
	}
	return nil
}

// readSlugignore returns no patterns when there is no .slugignore.
func readSlugignore(root *os.Root) (slugignore, error) {
	info, err := root.Lstat(slugignoreFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", slugignoreFile, err)
	}
	if !info.Mode().IsRegular() {
		return nil, refuse(CodePattern, "%s is not a plain file; make it one or remove it", slugignoreFile)
	}
	f, err := root.Open(slugignoreFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", slugignoreFile, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSlugignore+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", slugignoreFile, err)
	}
	if len(data) > maxSlugignore {
		return nil, refuse(CodePattern, "%s is larger than %d KiB; use fewer, wider patterns", slugignoreFile, maxSlugignore>>10)
	}
	return parseSlugignore(data)
}

func parseSlugignore(data []byte) (slugignore, error) {
	var ignore slugignore
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxSlugignore+1)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern := strings.TrimPrefix(path.Clean("/"+line), "/")
		if pattern == "" || strings.Contains("/"+line+"/", "/../") {
			return nil, refuse(CodePattern, "%s line %d: %q names the project itself or what is above it; name files or folders below it", slugignoreFile, number, line)
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, refuse(CodePattern, "%s line %d: %q is not a pattern; close its brackets, or write \\[ for a plain one", slugignoreFile, number, line)
		}
		ignore = append(ignore, pattern)
	}
	return ignore, lines.Err()
}

// matches reports whether a pattern names this very path.
func (s slugignore) matches(name string) bool {
	for _, pattern := range s {
		if ok, _ := path.Match(pattern, name); ok { // syntax was checked
			return true
		}
	}
	return false
}

// drops reports whether a pattern names the path or a folder above it.
func (s slugignore) drops(name string) bool {
	if len(s) == 0 {
		return false
	}
	for ; name != "."; name = path.Dir(name) {
		if s.matches(name) {
			return true
		}
	}
	return false
}
