package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// unpack runs Unpack in a folder of its own and checks what holds for every
// archive: refused means nothing is left, accepted means dest is all there is.
func unpack(t testing.TB, r io.Reader, limits Limits) (dest string, info Info, err error) {
	t.Helper()
	parent := t.TempDir()
	dest = filepath.Join(parent, "dest")
	info, err = Unpack(context.Background(), r, dest, limits)
	names, readErr := os.ReadDir(parent)
	if readErr != nil {
		t.Fatal(readErr)
	}
	want := 1
	if err != nil {
		want = 0
	}
	if len(names) != want {
		t.Errorf("after error %v, the parent folder has %v", err, names)
	}
	return dest, info, err
}

func TestUnpack(t *testing.T) {
	dest, info, err := unpack(t, bytes.NewReader(archiveOf(t,
		entry{typeflag: tar.TypeXGlobalHeader},
		entry{name: "app-1.0/"},
		entry{name: "app-1.0/Procfile", body: "web: ./run\n"},
		entry{name: "app-1.0/run", body: "#!/bin/sh\n", mode: 0o755},
		entry{name: "app-1.0/deep/er/file", body: "x"}, // folders only implied
		entry{name: "app-1.0/deep/", mode: 0o755},      // and named later
		entry{name: "app-1.0/link", typeflag: tar.TypeSymlink, link: "deep/er"},
		entry{name: "app-1.0/deep/up", typeflag: tar.TypeSymlink, link: "../Procfile"},
		entry{name: "app-1.0/broken", typeflag: tar.TypeSymlink, link: "not/yet/there"},
		entry{name: "app-1.0/loop", typeflag: tar.TypeSymlink, link: "loop"},
		entry{name: "app-1.0/hard", typeflag: tar.TypeLink, link: "app-1.0/run"},
		entry{name: "app-1.0/empty/"},
		entry{name: "app-1.0/..fine", body: "dots"},
		entry{name: "app-1.0/" + strings.Repeat("n", 200), body: "long"},
	)), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Procfile": "web: ./run\n", "run": "#!/bin/sh\n", "hard": "#!/bin/sh\n",
		"deep": "dir", "deep/er": "dir", "deep/er/file": "x", "deep/up": "-> ../Procfile",
		"link": "-> deep/er", "broken": "-> not/yet/there", "loop": "-> loop",
		"empty": "dir", "..fine": "dots", strings.Repeat("n", 200): "long",
	}
	if diff := cmp.Diff(want, listing(t, dest)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Info{Top: "app-1.0", Entries: 13, Bytes: 30}, info); diff != "" {
		t.Error(diff)
	}
	for name, mode := range map[string]fs.FileMode{"run": 0o755, "Procfile": 0o644, ".": 0o755, "deep": 0o755} {
		if got := stat(t, filepath.Join(dest, name)).Mode().Perm(); got != mode {
			t.Errorf("%s has mode %o, want %o", name, got, mode)
		}
	}
}

func stat(t testing.TB, name string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestUnpackIntoAnEmptyFolder(t *testing.T) {
	dest := t.TempDir()
	archive := archiveOf(t, entry{name: "./"}, entry{name: "./app/f", body: "1"})
	if _, err := Unpack(context.Background(), bytes.NewReader(archive), dest, DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"f": "1"}, listing(t, dest)); diff != "" {
		t.Error(diff)
	}
	// A second time it is not empty, and stays as it is.
	_, err := Unpack(context.Background(), bytes.NewReader(archive), dest, DefaultLimits())
	if err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
}

func TestUnpackDropsSetuidAndKeepsThingsReadable(t *testing.T) {
	dest, _, err := unpack(t, bytes.NewReader(archiveOf(t,
		entry{name: "a/suid", body: "x", mode: 0o6755},
		entry{name: "a/sticky/", mode: 0o1777},
		entry{name: "a/secret", body: "x", mode: 0o100},
		entry{name: "a/locked/", mode: 0o111},
		entry{name: "a/locked/in", body: "x"},
	)), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{
		"suid": 0o755, "sticky": 0o777 | fs.ModeDir, "secret": 0o700, "locked": 0o711 | fs.ModeDir,
	} {
		if got := stat(t, filepath.Join(dest, name)).Mode(); got != mode {
			t.Errorf("%s is %v, want %v", name, got, mode)
		}
	}
}

func TestUnpackSetsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving files away needs root")
	}
	dest, _, err := unpack(t, bytes.NewReader(archiveOf(t,
		entry{name: "a/dir/f", body: "x"},
		entry{name: "a/link", typeflag: tar.TypeSymlink, link: "dir/f"},
	)), Limits{Bytes: MaxBytes, Entries: MaxEntries, UID: 10000, GID: 10001})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "dir", "dir/f", "link"} {
		st := stat(t, filepath.Join(dest, name)).Sys().(*syscall.Stat_t)
		if st.Uid != 10000 || st.Gid != 10001 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	symlink := func(name, target string) entry { return entry{name: name, typeflag: tar.TypeSymlink, link: target} }
	hardlink := func(name, target string) entry { return entry{name: name, typeflag: tar.TypeLink, link: target} }
	file := func(name string) entry { return entry{name: name, body: "x"} }
	tests := []struct {
		name    string
		entries []entry
		code    Code
		says    string
	}{
		{"nothing", nil, CodeEmpty, "empty"},
		{"an empty top folder", []entry{{name: "a/"}}, CodeEmpty, "empty"},
		{"two top folders", []entry{file("a/f"), file("b/f")}, CodeLayout, `"a" and "b"`},
		{"a file at the root", []entry{file("a/f"), file("README")}, CodeLayout, `"README"`},
		{"a folder packed from inside", []entry{{name: "./"}, file("./main.go")}, CodeLayout, `"main.go"`},
		{"a symbolic link as the top", []entry{symlink("a", "/etc"), file("a/passwd")}, CodeLayout, `"a"`},
		{"macOS metadata", []entry{file("._a"), file("a/f")}, CodeLayout, "COPYFILE_DISABLE"},
		{"an absolute path", []entry{file("/etc/passwd")}, CodePath, `"/etc/passwd"`},
		{"climbing at once", []entry{file("../f")}, CodePath, `".."`},
		{"climbing later", []entry{file("a/../../f")}, CodePath, `".."`},
		{"climbing but staying inside", []entry{file("a/b/../c")}, CodePath, `".."`},
		{"a climbing folder", []entry{{name: "a/../"}}, CodePath, `".."`},
		{"a name that is too long", []entry{file("a/" + strings.Repeat("n", 256))}, CodePath, "256 bytes"},
		{"a path that is too long", []entry{file("a/" + strings.Repeat("d/", 600) + "f")}, CodePath, "bytes"},
		{"an absolute link", []entry{symlink("a/l", "/etc/passwd")}, CodeLink, `"/etc/passwd"`},
		{"a link out", []entry{symlink("a/l", "../f")}, CodeLink, `"../f"`},
		{"a link out from deeper", []entry{symlink("a/d/l", "../../f")}, CodeLink, `"../../f"`},
		{"a link out after going in", []entry{symlink("a/l", "x/../../f")}, CodeLink, "outside"},
		{"a link out through another", []entry{symlink("a/d/e/x", "../.."), symlink("a/d/e/y", "x/../f")}, CodeLink, "outside"},
		{"a link without a target", []entry{symlink("a/l", "")}, CodeLink, "no target"},
		{"a file below a link", []entry{symlink("a/l", "d"), {name: "a/d/"}, file("a/l/f")}, CodeDuplicate, `"l"`},
		{"a file over a link", []entry{symlink("a/l", "f"), file("a/l")}, CodeDuplicate, `"l"`},
		{"a link over a folder", []entry{file("a/d/f"), symlink("a/d", "x")}, CodeDuplicate, `"d"`},
		{"a file twice", []entry{file("a/f"), file("a/f")}, CodeDuplicate, "twice"},
		{"a file twice, spelt otherwise", []entry{file("a/f"), file("./a//./f")}, CodeDuplicate, "twice"},
		{"a file below a file", []entry{file("a/f"), file("a/f/g")}, CodeDuplicate, "not a folder"},
		{"a folder over a file", []entry{file("a/f"), {name: "a/f/"}}, CodeDuplicate, "twice"},
		{"a hard link out", []entry{file("a/f"), hardlink("a/h", "/etc/passwd")}, CodeLink, "/etc/passwd"},
		{"a climbing hard link", []entry{file("a/f"), hardlink("a/h", "a/../../etc/passwd")}, CodeLink, "hard link"},
		{"a hard link to nothing", []entry{hardlink("a/h", "a/f")}, CodeLink, "hard link"},
		{"a hard link to a symbolic one", []entry{symlink("a/s", "f"), hardlink("a/h", "a/s")}, CodeLink, "hard link"},
		{"a hard link to a folder", []entry{{name: "a/d/"}, hardlink("a/h", "a/d")}, CodeLink, "hard link"},
		{"a hard link to another top", []entry{file("a/f"), hardlink("a/h", "b/f")}, CodeLink, "hard link"},
		{"a device", []entry{{name: "a/null", typeflag: tar.TypeChar}}, CodeSpecial, "device"},
		{"a block device", []entry{{name: "a/sda", typeflag: tar.TypeBlock}}, CodeSpecial, "device"},
		{"a pipe", []entry{{name: "a/pipe", typeflag: tar.TypeFifo}}, CodeSpecial, "pipe"},
		{"something unheard of", []entry{{name: "a/x", typeflag: 'Z'}}, CodeSpecial, "unknown type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, info, err := unpack(t, bytes.NewReader(archiveOf(t, tt.entries...)), DefaultLimits())
			wantCode(t, err, tt.code)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("message lacks %q: %v", tt.says, err)
			}
			if info != (Info{}) {
				t.Errorf("info beside an error: %+v", info)
			}
		})
	}
}

func TestUnpackRefusesDamage(t *testing.T) {
	good := archiveOf(t, entry{name: "a/f", body: strings.Repeat("random enough 0123456789 ", 4000)})
	flipped := bytes.Clone(good)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	tests := []struct {
		name string
		data []byte
		code Code
	}{
		{"no data", nil, CodeNotGzip},
		{"one byte", []byte{0x1f}, CodeNotGzip},
		{"a plain tar", tarOf(t, entry{name: "a/f", body: "x"}), CodeNotGzip},
		{"a zip", []byte("PK\x03\x04rest"), CodeNotGzip},
		{"only the gzip magic", []byte{0x1f, 0x8b}, CodeDamaged},
		{"cut in the middle", good[:len(good)/2], CodeDamaged},
		{"cut before the checksum", good[:len(good)-8], CodeDamaged},
		{"one byte short", good[:len(good)-1], CodeDamaged},
		{"a wrong checksum", flipped, CodeDamaged},
		{"gzip of text", gzipOf(t, []byte(strings.Repeat("hello\n", 200))), CodeDamaged},
		{"a tar cut inside gzip", gzipOf(t, tarOf(t, entry{name: "a/f", body: strings.Repeat("x", 2000)})[:1000]), CodeDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := unpack(t, bytes.NewReader(tt.data), DefaultLimits())
			wantCode(t, err, tt.code)
		})
	}
}

func TestUnpackLimits(t *testing.T) {
	big := archiveOf(t, entry{name: "a/f", body: strings.Repeat("x", 20000)})
	exact := int64(512 + 20480 + 1024) // header, padded file, end mark
	if _, _, err := unpack(t, bytes.NewReader(big), Limits{Bytes: exact, Entries: MaxEntries, UID: -1, GID: -1}); err != nil {
		t.Errorf("an archive of exactly the limit: %v", err)
	}
	_, _, err := unpack(t, bytes.NewReader(big), Limits{Bytes: exact - 1, Entries: MaxEntries, UID: -1, GID: -1})
	wantCode(t, err, CodeTooLarge)
	_, _, err = unpack(t, bytes.NewReader(big), Limits{Bytes: 10000, Entries: MaxEntries, UID: -1, GID: -1})
	wantCode(t, err, CodeTooLarge)

	many := archiveOf(t, entry{name: "a/1/2/3/f", body: "x"}) // four entries
	if _, _, err := unpack(t, bytes.NewReader(many), Limits{Bytes: MaxBytes, Entries: 4, UID: -1, GID: -1}); err != nil {
		t.Errorf("as many entries as allowed: %v", err)
	}
	_, _, err = unpack(t, bytes.NewReader(many), Limits{Bytes: MaxBytes, Entries: 3, UID: -1, GID: -1})
	wantCode(t, err, CodeTooMany)
}

// A bomb must cost neither time nor disk: this one is 4 GiB of zeros in 4 MiB.
func TestUnpackStopsABomb(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds to make")
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() {
		zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		archive := tar.NewWriter(zip)
		err := archive.WriteHeader(&tar.Header{Name: "a/zeros", Size: 4 << 30, Mode: 0o644})
		zeros := make([]byte, 1<<20)
		for err == nil {
			_, err = archive.Write(zeros)
		}
		w.CloseWithError(err)
	}()
	_, _, err := unpack(t, r, DefaultLimits())
	wantCode(t, err, CodeTooLarge)

	// Past the size in the header, in the padding after the end mark.
	tail := append(tarOf(t, entry{name: "a/f", body: "x"}), make([]byte, 1<<20)...)
	_, _, err = unpack(t, bytes.NewReader(gzipOf(t, tail)), Limits{Bytes: 100000, Entries: MaxEntries, UID: -1, GID: -1})
	wantCode(t, err, CodeTooLarge)
}

// GNU tar's sparse files claim a size that is not in the stream.
func TestUnpackCountsSparseFilesInFull(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"a/small": "x"})
	f, err := os.Create(filepath.Join(dir, "a", "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(8<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tar", "-C", dir, "--sparse", "-czf", "-", "a").Output()
	if err != nil {
		t.Skipf("no GNU tar here: %v", err)
	}
	_, _, err = unpack(t, bytes.NewReader(out), Limits{Bytes: 1 << 20, Entries: MaxEntries, UID: -1, GID: -1})
	wantCode(t, err, CodeTooLarge)
	dest, info, err := unpack(t, bytes.NewReader(out), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if size := stat(t, filepath.Join(dest, "sparse")).Size(); size != 8<<20 || info.Bytes != 8<<20+1 {
		t.Errorf("size %d, info %+v", size, info)
	}
}

func TestUnpackTellsAFailingReaderFromABadArchive(t *testing.T) {
	broken := errors.New("connection reset")
	good := archiveOf(t, entry{name: "a/f", body: strings.Repeat("0123456789abcdef", 40000)})
	for _, r := range []io.Reader{
		iotest.ErrReader(broken),
		io.MultiReader(bytes.NewReader(good[:len(good)/2]), iotest.ErrReader(broken)),
	} {
		_, _, err := unpack(t, r, DefaultLimits())
		var refused *Error
		if !errors.Is(err, broken) || errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
	}
}

func TestUnpackEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	parent := t.TempDir()
	_, err := Unpack(ctx, bytes.NewReader(archiveOf(t, entry{name: "a/f"})), filepath.Join(parent, "d"), DefaultLimits())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if names, _ := os.ReadDir(parent); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// What real tools make must be accepted.
func TestUnpackRealArchives(t *testing.T) {
	dir := t.TempDir()
	long := "a/" + strings.Repeat("long-folder-name/", 12) + "file"
	writeTree(t, dir, map[string]string{"a/Procfile": "web: x", long: "x", "a/link": "-> Procfile"})
	if err := os.Link(filepath.Join(dir, "a/Procfile"), filepath.Join(dir, "a/hard")); err != nil {
		t.Fatal(err)
	}
	want := listing(t, filepath.Join(dir, "a"))
	for name, args := range map[string][]string{
		"gnu":   {"--format=gnu", "a"},
		"pax":   {"--format=posix", "a"},
		"ustar": {"--format=ustar", "a"},
		"dot":   {"./a"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command("tar", append([]string{"-C", dir, "-czf", "-"}, args...)...).Output()
			if err != nil {
				t.Skipf("no GNU tar here: %v", err)
			}
			dest, _, err := unpack(t, bytes.NewReader(out), DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, listing(t, dest)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
