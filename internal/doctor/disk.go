package doctor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// minFree is the disk space in bytes below which a first deployment is
	// likely to fail; with less than roomy, soon.
	minFree = 2 << 30
	roomy   = 5 << 30
	// minInodes is how many more files there can be at least: an image of the
	// stack and an app have about 50,000.
	minInodes = 100_000
)

// unfit are file systems that overlayfs cannot write to, by magic number.
var unfit = map[int64]string{
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs itself",
	unix.NFS_SUPER_MAGIC:       "NFS",
	unix.V9FS_MAGIC:            "9p",
	unix.MSDOS_SUPER_MAGIC:     "FAT",
	unix.FUSE_SUPER_MAGIC:      "FUSE",
	unix.SMB_SUPER_MAGIC:       "SMB",
}

// Disk checks that dir, or the nearest folder above it, has room, and is on a
// file system that containers can live on. Where a server is at home already,
// too little room is only a warning: deployments fail, but what runs needs its
// names and its router the more.
func Disk(dir string, atHome bool) Check {
	return Check{"disk", func(context.Context) (string, error) {
		st, err := statfs(dir)
		if err != nil {
			return "", err
		}
		free := int64(st.Bavail) * st.Bsize
		tight := fmt.Errorf
		if atHome {
			tight = Warn
		}
		switch {
		case unfit[st.Type] != "":
			return "", fmt.Errorf("%s is on %s, which cannot hold containers' file systems: set data_dir to a folder on ext4, xfs or btrfs", dir, unfit[st.Type])
		case st.Flags&unix.ST_RDONLY != 0:
			return "", fmt.Errorf("%s is on a file system that is mounted read-only: set data_dir to another", dir)
		case free < minFree:
			return "", tight("%s has %d MiB free, at least %d are needed: free some space or set data_dir to another disk", dir, free>>20, minFree>>20)
		case st.Files > 0 && st.Ffree < minInodes:
			return "", tight("%s has room for %d more files only, at least %d are needed: delete small files or set data_dir to another disk", dir, st.Ffree, minInodes)
		case free < roomy:
			return "", Warn("%s has %d MiB free, which a few more deployments will fill: free some space or set data_dir to another disk", dir, free>>20)
		}
		return fmt.Sprintf("%s has %d GiB free", dir, free>>30), nil
	}}
}

// statfs looks at the file system of dir, or of the nearest folder above that
// is there.
func statfs(dir string) (st unix.Statfs_t, err error) {
	for at := dir; ; at = filepath.Dir(at) {
		err := unix.Statfs(at, &st)
		if errors.Is(err, unix.ENOENT) && at != "/" {
			continue
		}
		if err != nil {
			return st, fmt.Errorf("cannot look at the disk of %s: %w", dir, err)
		}
		return st, nil
	}
}
