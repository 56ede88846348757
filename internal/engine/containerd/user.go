package containerd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"

	"github.com/atollhq/atoll/internal/platform"
)

// defaultUser runs images that say nothing, or root: nothing of users ever
// runs as root.
var defaultUser = user{UID: 10000, GID: 10000}

// user finds out who an image's configuration means: "", "name", "uid",
// "name:group", "uid:gid".
func (c *imageCache) user(ctx context.Context, root, config string) (user, error) {
	name, group, _ := strings.Cut(config, ":")
	uid, uidErr := strconv.ParseUint(name, 10, 32)
	gid, gidErr := strconv.ParseUint(group, 10, 32)
	switch {
	case config == "" || name == "root":
		return defaultUser, nil
	case uidErr == nil && group == "":
		gid = uid
	case uidErr == nil && gidErr == nil:
	default:
		u, err := c.lookUp(ctx, root, name)
		if err != nil {
			return user{}, err
		}
		return u.orDefault(), nil
	}
	return user{UID: uint32(uid), GID: uint32(gid)}.orDefault(), nil
}

func (u user) orDefault() user {
	if u.UID == 0 {
		return defaultUser
	}
	return u
}

// lookUp finds a user by name in the image's own /etc/passwd.
func (c *imageCache) lookUp(ctx context.Context, root, name string) (u user, err error) {
	s := c.client.SnapshotService(snapshotter)
	key := "look-" + platform.NewID()
	mounts, err := s.View(ctx, key, root)
	if err != nil {
		return u, fmt.Errorf("cannot view its files: %w", err)
	}
	defer func() {
		if removeErr := s.Remove(context.WithoutCancel(ctx), key); removeErr != nil && !errdefs.IsNotFound(removeErr) {
			err = errors.Join(err, removeErr)
		}
	}()
	err = mount.WithReadonlyTempMount(ctx, mounts, func(dir string) error {
		// Inside a root of its own: the image may have a link there.
		files, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer files.Close()
		f, err := files.Open(filepath.Join("etc", "passwd"))
		if err != nil {
			return fmt.Errorf("cannot read its /etc/passwd: %w", err)
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if fields := strings.Split(lines.Text(), ":"); len(fields) >= 4 && fields[0] == name {
				u, err = parseIDs(fields[2], fields[3])
				return err
			}
		}
		return fmt.Errorf("its user %q is not in its /etc/passwd", name)
	})
	return u, err
}

func parseIDs(uid, gid string) (user, error) {
	u, uidErr := strconv.ParseUint(uid, 10, 32)
	g, gidErr := strconv.ParseUint(gid, 10, 32)
	return user{UID: uint32(u), GID: uint32(g)}, errors.Join(uidErr, gidErr)
}
