package source

import (
	"path"
	"strings"
)

// The longest names accepted, in bytes. Folders are unpacked, built and packed
// again below other folders, so a path must stay well under the kernel's 4096.
const (
	maxPath      = 1024
	maxComponent = 255
)

type kind byte

const (
	kindDir kind = iota + 1
	kindFile
	kindSymlink
)

// node is one thing in a tree.
type node struct {
	kind   kind
	target string // of a symlink
}

// tree is what an archive has claimed so far, by path below the top folder.
// All decisions about names and links are made on it, before the disk is
// touched: since nobody else writes into a folder being unpacked, it is exact.
type tree map[string]node

// splitName checks the name of an archive's entry and cuts off its top folder.
// rest is "" for the top folder itself; top is "" for the archive's root.
func splitName(name string) (top, rest string, err error) {
	if strings.HasPrefix(name, "/") {
		return "", "", refuse(CodePath, "the archive has the absolute path %q; pack with relative names, for instance: tar czf app.tar.gz app/", name)
	}
	if strings.ContainsRune(name, 0) {
		return "", "", refuse(CodePath, "the archive has a name with a NUL byte: %q", name)
	}
	for _, part := range strings.Split(name, "/") {
		if part == ".." {
			return "", "", refuse(CodePath, "the archive has the path %q, which climbs out with \"..\"; pack the folder from its parent, for instance: tar czf app.tar.gz app/", name)
		}
		if len(part) > maxComponent {
			return "", "", refuse(CodePath, "the archive has a file name of %d bytes (%.40q…); at most %d are possible", len(part), part, maxComponent)
		}
	}
	clean := path.Clean(name)
	if clean == "." {
		return "", "", nil
	}
	if len(clean) > maxPath {
		return "", "", refuse(CodePath, "the archive has a path of %d bytes (%.40q…); at most %d are possible", len(clean), clean, maxPath)
	}
	top, rest, _ = strings.Cut(clean, "/")
	return top, rest, nil
}

// add claims a place for n and returns the folders above it that have to be
// made first, outermost first. A folder may be named more than once.
func (t tree) add(name string, n node) (parents []string, err error) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		above, known := t[dir]
		if known && above.kind != kindDir {
			return nil, refuse(CodeDuplicate, "the archive has %q below %q, which is not a folder in it; pack the folder anew", name, dir)
		}
		if known {
			break
		}
		parents = append([]string{dir}, parents...)
	}
	if old, known := t[name]; known {
		if old.kind == kindDir && n.kind == kindDir {
			return nil, nil
		}
		return nil, refuse(CodeDuplicate, "the archive has %q twice; pack the folder anew into a new archive", name)
	}
	for _, dir := range parents {
		t[dir] = node{kind: kindDir}
	}
	t[name] = n
	return parents, nil
}

// checkSymlinks refuses symbolic links that lead out of the tree, taking into
// account that links may lead through other links. Broken links are fine: what
// they name may be made by the build.
func (t tree) checkSymlinks() error {
	for name, n := range t {
		if n.kind != kindSymlink {
			continue
		}
		if n.target == "" {
			return refuse(CodeLink, "the symbolic link %q has no target; remove it", name)
		}
		if strings.HasPrefix(n.target, "/") {
			return refuse(CodeLink, "the symbolic link %q leads to the absolute path %q, which is outside of the app's folder; make it relative or remove it", name, n.target)
		}
		if !t.staysInside(name, n.target) {
			return refuse(CodeLink, "the symbolic link %q leads to %q, which is outside of the app's folder; remove it or copy the file", name, n.target)
		}
	}
	return nil
}

// staysInside follows the link at name the way the kernel does: component by
// component, through other links, ".." from where one really is. What does not
// exist is taken for a folder. It stops, like the kernel, after 40 links: a
// loop leads nowhere, so not outside either.
func (t tree) staysInside(name, target string) bool {
	at := components(path.Dir(name))
	todo := strings.Split(target, "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return false
			}
			at = at[:len(at)-1]
			continue
		}
		at = append(at, part)
		n := t[strings.Join(at, "/")]
		if n.kind != kindSymlink {
			continue
		}
		if links++; links > 40 {
			return true
		}
		if strings.HasPrefix(n.target, "/") {
			return false
		}
		at = at[:len(at)-1]
		todo = append(strings.Split(n.target, "/"), todo...)
	}
	return true
}

func components(dir string) []string {
	if dir == "." {
		return nil
	}
	return strings.Split(dir, "/")
}
