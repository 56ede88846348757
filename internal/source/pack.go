package source

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Pack writes the folder dir to w as an archive that Unpack accepts, under one
// top folder named after dir, and returns how many files are in it. It leaves
// out what .gitignore and .slugignore name, and .git. Git knows no empty
// folders, so there are none in the archive.
//
// What the server would refuse is refused here already, before anything is
// written: too large, too many files, links that lead out of dir.
func Pack(ctx context.Context, dir string, w io.Writer) (files int, err error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return 0, fmt.Errorf("cannot find %s: %w", dir, err)
	}
	// Git resolves links in the folder's own path; do the same at once.
	absolute, err = filepath.EvalSymlinks(absolute)
	if err != nil {
		return 0, fmt.Errorf("cannot pack %s: %w", dir, err)
	}
	root, err := os.OpenRoot(absolute)
	if err != nil {
		return 0, fmt.Errorf("cannot pack %s: %w", dir, err)
	}
	defer root.Close()

	items, err := selectFiles(ctx, root, absolute)
	if err != nil {
		return 0, err
	}
	top := topName(absolute)
	if err := checkItems(items, top, dir); err != nil {
		return 0, err
	}
	if err := writeArchive(ctx, root, w, top, items); err != nil {
		return 0, err
	}
	return len(items), nil
}

// item is a file or symbolic link to pack.
type item struct {
	name   string // below the folder, with slashes
	info   fs.FileInfo
	target string // of a symbolic link
}

func (i item) size() int64 {
	if i.info.Mode().IsRegular() {
		return i.info.Size()
	}
	return 0
}

// selectFiles returns what to pack, by name.
func selectFiles(ctx context.Context, root *os.Root, dir string) ([]item, error) {
	ignore, err := readSlugignore(root)
	if err != nil {
		return nil, err
	}
	names, err := gitFiles(ctx, dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var items []item
	for _, name := range slices.Compact(names) {
		if ignore.drops(name) {
			continue
		}
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // tracked by git, but deleted
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", name, err)
		}
		it := item{name: name, info: info}
		switch {
		case info.Mode().IsRegular():
		case info.Mode()&fs.ModeSymlink != 0:
			if it.target, err = root.Readlink(name); err != nil {
				return nil, fmt.Errorf("cannot read the link %s: %w", name, err)
			}
		default:
			return nil, refuse(CodeSpecial, "%s is neither a file nor a link; remove it or name it in .gitignore", name)
		}
		items = append(items, it)
	}
	return items, nil
}

// checkItems applies the server's rules.
func checkItems(items []item, top, dir string) error {
	if len(items) == 0 {
		return refuse(CodeEmpty, "nothing to deploy in %s: it is empty, or everything is ignored (.gitignore, .slugignore)", dir)
	}
	claimed := tree{}
	stream := int64(1024) // the end mark
	for _, it := range items {
		n := node{kind: kindFile}
		if it.target != "" {
			n = node{kind: kindSymlink, target: it.target}
		}
		if _, err := claimed.add(it.name, n); err != nil {
			return err
		}
		if _, _, err := splitName(top + "/" + it.name); err != nil {
			return err
		}
		stream += 512 + (it.size()+511)/512*512
	}
	if err := claimed.checkSymlinks(); err != nil {
		return err
	}
	if len(claimed) > MaxEntries {
		return refuse(CodeTooMany, "%s has more than %d files and folders; name what is not needed in .gitignore or .slugignore", dir, MaxEntries)
	}
	if stream > MaxBytes {
		return refuse(CodeTooLarge, "%s is %d MiB packed, uncompressed, and at most %d are possible; name what is not needed in .gitignore or .slugignore. The largest: %s",
			dir, stream>>20, MaxBytes>>20, largest(items))
	}
	return nil
}

// largest names what takes most room, by the first two levels of folders.
func largest(items []item) string {
	sums := map[string]int64{}
	for _, it := range items {
		parts := strings.SplitN(it.name, "/", 3)
		sums[strings.Join(parts[:min(2, len(parts))], "/")] += it.size()
	}
	names := make([]string, 0, len(sums))
	for name := range sums {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(3, len(names))] {
		parts = append(parts, fmt.Sprintf("%s (%d MiB)", name, sums[name]>>20))
	}
	return strings.Join(parts, ", ")
}

func writeArchive(ctx context.Context, root *os.Root, w io.Writer, top string, items []item) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	for _, it := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := writeItem(archive, root, top, it); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return fmt.Errorf("cannot write the archive: %w", err)
	}
	return nil
}

func writeItem(archive *tar.Writer, root *os.Root, top string, it item) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg,
		Name:     path.Join(top, it.name),
		Mode:     int64(it.info.Mode().Perm()),
		Size:     it.size(),
		ModTime:  it.info.ModTime().Truncate(1e9),
	}
	if it.target != "" {
		header.Typeflag, header.Linkname = tar.TypeSymlink, it.target
	}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("cannot write the archive: %w", err)
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := root.Open(it.name)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", it.name, err)
	}
	defer f.Close()
	if n, err := io.CopyN(archive, f, it.size()); errors.Is(err, io.EOF) {
		return fmt.Errorf("%s shrank from %d to %d bytes while it was packed; deploy again when nothing writes to it", it.name, it.size(), n)
	} else if err != nil {
		return fmt.Errorf("cannot pack %s: %w", it.name, err)
	}
	return nil
}

// topName is the name of the folder in the archive.
func topName(dir string) string {
	name := filepath.Base(dir)
	if name == "/" || name == "." || len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return "app"
	}
	return name
}
