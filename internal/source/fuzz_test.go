package source

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzUnpack feeds tars (gzip'd here, since a fuzzer cannot guess checksums)
// and holds Unpack to its guarantees.
func FuzzUnpack(f *testing.F) {
	for _, entries := range [][]entry{
		{{name: "a/"}, {name: "a/Procfile", body: "web: x"}},
		{{name: "a/l", typeflag: tar.TypeSymlink, link: "../../etc"}},
		{{name: "a/d/x", typeflag: tar.TypeSymlink, link: ".."}, {name: "a/y", typeflag: tar.TypeSymlink, link: "d/x/.."}},
		{{name: "a/f", body: "x"}, {name: "a/h", typeflag: tar.TypeLink, link: "a/f"}},
		{{name: "../x", body: "x"}}, {{name: "/x", body: "x"}}, {{name: "a/x", typeflag: tar.TypeFifo}},
		{{name: "a/suid", body: "x", mode: 0o6777}},
	} {
		f.Add(tarOf(f, entries...))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		parent := t.TempDir()
		writeTree(t, parent, map[string]string{"sentinel": "untouched"})
		dest := filepath.Join(parent, "dest")
		const limit = 1 << 20
		info, err := Unpack(context.Background(), bytes.NewReader(gzipOf(t, data)), dest, Limits{Bytes: limit, Entries: 100, UID: -1, GID: -1})

		names, readErr := os.ReadDir(parent)
		if readErr != nil {
			t.Fatal(readErr)
		}
		want := []string{"dest", "sentinel"}
		if err != nil {
			want = want[1:]
		}
		var got []string
		for _, n := range names {
			got = append(got, n.Name())
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("after error %v the parent has %v", err, got)
		}
		if content, _ := os.ReadFile(filepath.Join(parent, "sentinel")); string(content) != "untouched" {
			t.Fatal("a file outside was changed")
		}
		if err == nil {
			checkUnpacked(t, dest, info, limit)
		}
	})
}

// checkUnpacked walks dest as the kernel sees it.
func checkUnpacked(t *testing.T, dest string, info Info, limit int64) {
	entries := -1 // dest itself
	err := filepath.WalkDir(dest, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		entries++
		st, err := d.Info()
		if err != nil {
			return err
		}
		switch mode := st.Mode(); {
		case mode&fs.ModeSymlink != 0:
			real, err := filepath.EvalSymlinks(path)
			if err == nil && real != dest && !strings.HasPrefix(real, dest+"/") {
				t.Errorf("%s leads to %s", path, real)
			}
		case !mode.IsRegular() && !mode.IsDir():
			t.Errorf("%s is %v", path, mode)
		case mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0:
			t.Errorf("%s has mode %v", path, mode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if entries != info.Entries || entries == 0 || info.Bytes > limit || info.Top == "" {
		t.Errorf("%d entries unpacked; info %+v", entries, info)
	}
}

func FuzzSlugignore(f *testing.F) {
	for _, seed := range []string{"*.md\n# c\n/docs/\n", "[", "../x", "a/../..", "/", "\\", "a\r\nb", "[]a]"} {
		f.Add(seed, "docs/x")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		if !fs.ValidPath(name) || name == "." {
			t.Skip()
		}
		ignore, err := parseSlugignore([]byte(text))
		if err != nil {
			return
		}
		if ignore.drops(".") {
			t.Errorf("%q removes the project itself", text)
		}
		if ignore.matches(name) && !ignore.drops(name) {
			t.Errorf("%q matches %q without dropping it", text, name)
		}
	})
}
