package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// opaqueRecord is how GNU tar stores the overlay's mark of a directory that
// hides the one below it.
const opaqueRecord = "SCHILY.xattr.trusted.overlay.opaque"

// normalise copies a tar of a root file system, or of an overlay's upper
// directory, as an OCI layer: overlay whiteouts become OCI whiteouts, no time
// stamp is newer than epoch, and set-user-id bits, device nodes, extended
// attributes and user names are left out.
//
// Apps run without any way to gain rights, so set-user-id programs would only
// be bait; a container gets its device nodes from the engine.
func normalise(w io.Writer, r io.Reader, epoch time.Time) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("cannot read the tar: %w", err)
		}
		for _, h := range layerHeaders(header, epoch) {
			if err := out.WriteHeader(h); err != nil {
				return fmt.Errorf("cannot write %s: %w", h.Name, err)
			}
			if h.Size == 0 {
				continue
			}
			if _, err := io.Copy(out, in); err != nil {
				return fmt.Errorf("cannot copy %s: %w", h.Name, err)
			}
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("cannot finish the layer: %w", err)
	}
	return nil
}

// layerHeaders returns the entries of the layer that stand for one entry of
// the tar: none, one, or a directory and its opaque mark.
func layerHeaders(in *tar.Header, epoch time.Time) []*tar.Header {
	name := strings.TrimPrefix(path.Clean("/"+in.Name), "/")
	if name == "" {
		return nil // the root itself
	}
	modTime := in.ModTime
	if modTime.After(epoch) {
		modTime = epoch
	}
	h := &tar.Header{
		Typeflag: in.Typeflag,
		Name:     name,
		Linkname: in.Linkname,
		Size:     in.Size,
		Mode:     in.Mode & 0o1777,
		Uid:      in.Uid,
		Gid:      in.Gid,
		ModTime:  modTime.Truncate(time.Second),
	}
	switch in.Typeflag {
	case tar.TypeReg, tar.TypeSymlink:
		return []*tar.Header{h}
	case tar.TypeLink:
		h.Linkname = strings.TrimPrefix(path.Clean("/"+in.Linkname), "/")
		return []*tar.Header{h}
	case tar.TypeDir:
		h.Name += "/"
		if in.PAXRecords[opaqueRecord] != "y" {
			return []*tar.Header{h}
		}
		return []*tar.Header{h, whiteout(name+"/.wh..wh..opq", epoch)}
	case tar.TypeChar:
		if in.Devmajor == 0 && in.Devminor == 0 {
			return []*tar.Header{whiteout(path.Join(path.Dir(name), ".wh."+path.Base(name)), epoch)}
		}
	}
	return nil // other devices, sockets, pipes
}

func whiteout(name string, epoch time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: epoch.Truncate(time.Second)}
}
