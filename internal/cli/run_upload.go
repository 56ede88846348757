package cli

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/atollhq/atoll/internal/client"
	"github.com/atollhq/atoll/internal/platform"
)

// upload sends a file, or a folder as NAME.tar.gz.
func upload(ctx context.Context, c *client.Client, attachURL, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("cannot upload %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("cannot upload: %w", err)
	}
	name := filepath.Base(path)
	if info.IsDir() {
		archive, feed := io.Pipe()
		defer archive.Close()
		go func() { feed.CloseWithError(packUpload(feed, path)) }()
		return c.UploadFile(ctx, attachURL, name+".tar.gz", archive)
	}
	if !info.Mode().IsRegular() {
		return usage("cannot upload %s: it is neither a file nor a folder", path)
	}
	if info.Size() > platform.MaxUpload {
		return usage("cannot upload %s: it is larger than %d MiB", path, platform.MaxUpload>>20)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot upload: %w", err)
	}
	defer f.Close()
	return c.UploadFile(ctx, attachURL, name, f)
}

// packUpload writes all of a folder, under its own name.
func packUpload(w io.Writer, dir string) error {
	zipped := gzip.NewWriter(w)
	packed := tar.NewWriter(zipped)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		link := ""
		if info.Mode()&os.ModeSymlink != 0 {
			if link, err = os.Readlink(path); err != nil {
				return err
			}
		} else if !info.IsDir() && !info.Mode().IsRegular() {
			return nil // sockets and the like
		}
		header, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(filepath.Dir(dir), path)
		if err != nil {
			return err
		}
		header.Name = filepath.ToSlash(rel)
		header.Uname, header.Gname = "", ""
		// Else it is rounded, and tar warns of files from the future.
		header.ModTime = header.ModTime.Truncate(time.Second)
		if err := packed.WriteHeader(header); err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(packed, f)
		return err
	})
	if err == nil {
		err = packed.Close()
	}
	if err == nil {
		err = zipped.Close()
	}
	return err
}
