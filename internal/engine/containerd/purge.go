package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/atollhq/atoll/internal/engine"
)

// Purge kills and removes every container and job of cfg's namespace at
// once, without draining, and stops a private containerd. Images and logs
// stay. It is for taking an installation away; no Engine may be open.
func Purge(ctx context.Context, cfg Config) error {
	if cfg.Namespace == "" {
		cfg.Namespace = "atoll"
	}
	lock, err := lockDir(cfg.RunDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	h, err := probeHost()
	if err != nil {
		return err
	}
	cl, err := cfg.connect(ctx)
	if err != nil {
		return err
	}
	e := &Engine{cfg: cfg, client: cl, host: h, log: cfg.Log}
	list, err := cl.ContainerService().List(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot list the containers: %w", err), cl.Close())
	}
	var errs []error
	for _, c := range list {
		if c.Labels[kindLabel] == "" {
			continue
		}
		errs = append(errs, e.removeContainer(ctx, c.ID, c.SnapshotKey), e.removeFiles(c.ID))
		id := c.ID
		if c.Labels[kindLabel] == kindJob {
			id = c.ID[len(jobID(engine.Job{})):]
		}
		if err := cfg.Network.Teardown(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("cannot remove the network of container %s: %w", c.ID, err))
		}
	}
	errs = append(errs, h.removeCgroup(cfg.CgroupParent), cl.Close())
	if cfg.Address == "" {
		d := cfg.daemon()
		errs = append(errs, d.Stop(), os.RemoveAll(filepath.Join(cfg.RunDir, "fifo")))
	}
	return errors.Join(errs...)
}
