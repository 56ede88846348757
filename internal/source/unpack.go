package source

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// The default limits of an archive.
const (
	// MaxBytes is how large an archive may be uncompressed: 300 MiB (BU-3).
	MaxBytes = 314572800
	// MaxEntries is how many files and folders an archive may have.
	MaxEntries = 200_000
)

// Limits say how much Unpack takes and to whom the result belongs.
type Limits struct {
	// Bytes is the largest size of the archive, uncompressed, and of all its
	// files together.
	Bytes int64
	// Entries counts files, links and folders, also those that are only
	// implied by the paths of others.
	Entries int
	// UID and GID get everything, the folder itself included; that needs
	// root. -1 leaves the owner as it is.
	UID, GID int
}

// DefaultLimits are MaxBytes, MaxEntries, and no change of owner.
func DefaultLimits() Limits {
	return Limits{Bytes: MaxBytes, Entries: MaxEntries, UID: -1, GID: -1}
}

// Info tells what was unpacked.
type Info struct {
	// Top is the name of the one folder at the root of the archive.
	Top string
	// Entries counts files, links and folders below it.
	Entries int
	// Bytes is the size of all files together.
	Bytes int64
}

// Unpack puts the content of the one folder in the gzip'd tar r into dest,
// which must be absent or an empty folder, and whose parent must exist and be
// writable by nobody else.
//
// It unpacks into a folder ".unpack-*" beside dest and renames that at the
// end: an archive that is refused (*Error) or fails leaves dest as it was. Only
// a killed process can leave a ".unpack-*" behind; it may be removed any time.
//
// Set-user-id bits, owners, time stamps and extended attributes of the archive
// are not taken over; permissions are, but the owner can always read and write.
func Unpack(ctx context.Context, r io.Reader, dest string, limits Limits) (Info, error) {
	if names, err := os.ReadDir(dest); err == nil && len(names) > 0 {
		return Info{}, fmt.Errorf("cannot unpack into %s: it is not empty", dest)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Info{}, fmt.Errorf("cannot unpack into %s: %w", dest, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dest), ".unpack-*")
	if err != nil {
		return Info{}, fmt.Errorf("cannot make a folder beside %s: %w", dest, err)
	}
	info, err := unpackInto(ctx, r, temp, limits)
	if err == nil {
		// os.Rename refuses to replace a folder; the kernel replaces an
		// empty one.
		if err = syscall.Rename(temp, dest); err != nil {
			err = fmt.Errorf("cannot put the unpacked source in place: %w", err)
		}
	}
	if err != nil {
		if rmErr := os.RemoveAll(temp); rmErr != nil {
			err = errors.Join(err, fmt.Errorf("cannot remove the rest of a refused archive: %w", rmErr))
		}
		return Info{}, err
	}
	return info, nil
}

func unpackInto(ctx context.Context, r io.Reader, dir string, limits Limits) (Info, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Info{}, fmt.Errorf("cannot open %s: %w", dir, err)
	}
	defer root.Close()

	in := &input{ctx: ctx, r: r}
	buffered := bufio.NewReaderSize(in, 64<<10)
	if magic, _ := buffered.Peek(2); in.err == nil && string(magic) != "\x1f\x8b" {
		return Info{}, refuse(CodeNotGzip, "the archive is not gzip data; make it with: tar czf app.tar.gz app/")
	}
	u := &unpacker{root: root, limits: limits, tree: tree{}}
	err = u.read(buffered)
	if in.err != nil {
		// The reader failed, not the archive.
		return Info{}, fmt.Errorf("cannot read the archive: %w", in.err)
	}
	if err != nil {
		return Info{}, err
	}
	if err := u.finish(); err != nil {
		return Info{}, err
	}
	return u.info, nil
}

type unpacker struct {
	root   *os.Root
	limits Limits
	tree   tree
	info   Info
}

// read takes the archive apart. Symbolic links are only noted.
func (u *unpacker) read(r io.Reader) error {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return damaged(err)
	}
	plain := &limited{r: zip, left: u.limits.Bytes, max: u.limits.Bytes}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return damaged(err)
		}
		if err := u.entry(header, archive); err != nil {
			return err
		}
	}
	// Read on to the end: the gzip checksum stands there.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return damaged(err)
	}
	return nil
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // git archive's note of the commit
	}
	top, rest, err := splitName(h.Name)
	if err != nil {
		return err
	}
	isDir := h.Typeflag == tar.TypeDir
	if top == "" && isDir {
		return nil // "./", of: tar czf app.tar.gz ./app
	}
	if err := u.checkTop(top, rest, isDir); err != nil {
		return err
	}
	if rest == "" {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(rest, h)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(rest, h, content)
	case tar.TypeSymlink:
		_, err := u.claim(rest, node{kind: kindSymlink, target: h.Linkname})
		return err
	case tar.TypeLink:
		return u.hardlink(rest, h)
	}
	return refuse(CodeSpecial, "the archive has %q, which is %s; only files, folders and links can be deployed, remove it", h.Name, describe(h.Typeflag))
}

// checkTop insists on one folder at the root.
func (u *unpacker) checkTop(top, rest string, isDir bool) error {
	switch {
	case rest == "" && !isDir:
		hint := "put everything into one folder, for instance: tar czf app.tar.gz app/"
		if strings.HasPrefix(top, "._") {
			hint = "it is macOS metadata; pack with: COPYFILE_DISABLE=1 tar czf app.tar.gz app/"
		}
		return refuse(CodeLayout, "the archive has %q at its root, outside of any folder; %s", top, hint)
	case u.info.Top != "" && top != u.info.Top:
		return refuse(CodeLayout, "the archive has two folders at its root, %q and %q; it must have exactly one, for instance: tar czf app.tar.gz app/", u.info.Top, top)
	}
	u.info.Top = top
	return nil
}

// claim enters n into the tree, makes the folders above it and counts.
func (u *unpacker) claim(name string, n node) (isNew bool, err error) {
	before := len(u.tree)
	parents, err := u.tree.add(name, n)
	if err != nil {
		return false, err
	}
	if len(u.tree) > u.limits.Entries {
		return false, refuse(CodeTooMany, "the archive has more than %d files and folders; leave out what is not needed (.gitignore, .slugignore)", u.limits.Entries)
	}
	for _, dir := range parents {
		if err := u.mkdir(dir, 0o755); err != nil {
			return false, err
		}
	}
	return len(u.tree) > before, nil
}

func (u *unpacker) dir(name string, h *tar.Header) error {
	isNew, err := u.claim(name, node{kind: kindDir})
	if err != nil || !isNew {
		return err
	}
	return u.mkdir(name, permissions(h)|0o700)
}

func (u *unpacker) mkdir(name string, mode fs.FileMode) error {
	if err := u.root.Mkdir(name, 0o700); err != nil {
		return failed("make the folder", name, err)
	}
	if err := u.root.Chmod(name, mode); err != nil {
		return failed("set the permissions of", name, err)
	}
	return nil
}

func (u *unpacker) file(name string, h *tar.Header, content io.Reader) error {
	// A sparse file can be large without taking room in the archive.
	if h.Size > u.limits.Bytes-u.info.Bytes {
		return tooLarge(u.limits.Bytes)
	}
	if _, err := u.claim(name, node{kind: kindFile}); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return failed("write", name, err)
	}
	defer f.Close()
	written, err := io.Copy(onlyWriter{f}, onlyReader{content})
	u.info.Bytes += written
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return failed("write", name, err)
	}
	if err != nil {
		return damaged(err)
	}
	if err := f.Chmod(permissions(h) | 0o600); err != nil {
		return failed("set the permissions of", name, err)
	}
	if err := f.Close(); err != nil {
		return failed("write", name, err)
	}
	return nil
}

// hardlink accepts links to files that came earlier in the archive.
func (u *unpacker) hardlink(name string, h *tar.Header) error {
	top, target, err := splitName(h.Linkname)
	if err != nil || top != u.info.Top || u.tree[target].kind != kindFile {
		return refuse(CodeLink, "the hard link %q leads to %q, which is not an earlier file of the archive; pack with: tar --hard-dereference -czf app.tar.gz app/", name, h.Linkname)
	}
	if _, err := u.claim(name, node{kind: kindFile}); err != nil {
		return err
	}
	if err := u.root.Link(target, name); err != nil {
		return failed("link", name, err)
	}
	return nil
}

// finish makes the symbolic links, now that every path is known, and sets the
// owner.
func (u *unpacker) finish() error {
	u.info.Entries = len(u.tree)
	if u.info.Entries == 0 {
		return refuse(CodeEmpty, "the archive is empty; it must have one folder with the app in it, for instance: tar czf app.tar.gz app/")
	}
	if err := u.tree.checkSymlinks(); err != nil {
		return err
	}
	for name, n := range u.tree {
		if n.kind != kindSymlink {
			continue
		}
		if err := u.root.Symlink(n.target, name); err != nil {
			return failed("make the link", name, err)
		}
	}
	if err := u.root.Chmod(".", 0o755); err != nil {
		return failed("set the permissions of", ".", err)
	}
	return u.setOwner()
}

func (u *unpacker) setOwner() error {
	uid, gid := u.limits.UID, u.limits.GID
	if uid == -1 && gid == -1 {
		return nil
	}
	for name := range u.tree {
		if err := u.root.Lchown(name, uid, gid); err != nil {
			return failed("set the owner of", name, err)
		}
	}
	if err := u.root.Chown(".", uid, gid); err != nil {
		return failed("set the owner of", ".", err)
	}
	return nil
}

func permissions(h *tar.Header) fs.FileMode { return fs.FileMode(h.Mode) & 0o777 }

func describe(typeflag byte) string {
	switch typeflag {
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a named pipe"
	}
	return fmt.Sprintf("of the unknown type %q", typeflag)
}

func failed(what, name string, err error) error {
	return fmt.Errorf("cannot %s %s of the source: %w", what, path.Clean(name), err)
}

// damaged tells what a reading error says about the archive.
func damaged(err error) error {
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return refuse(CodeDamaged, "the archive is cut off; upload it again")
	}
	return refuse(CodeDamaged, "the archive is damaged (%v); make it anew with: tar czf app.tar.gz app/", err)
}

func tooLarge(limit int64) error {
	return refuse(CodeTooLarge, "the archive is larger than %d MiB uncompressed; leave out what is not needed (.gitignore, .slugignore)", limit>>20)
}
