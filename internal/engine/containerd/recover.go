package containerd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/namespace"
	"github.com/atollhq/atoll/internal/platform"
)

// recover takes over what a former process left: it removes jobs, reports a
// row for every container, tells the network which sandboxes are in use, and
// gives each container a keeper. Rows come before the network, which takes
// seconds for a thousand containers: traffic goes on meanwhile, and names only
// need the rows.
func (e *Engine) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	list, err := e.client.ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the containers: %w", err)
	}
	processes, err := e.processes(ctx)
	if err != nil {
		return err
	}
	var found []*keeper
	var members []Member
	for _, c := range list {
		switch c.Labels[kindLabel] {
		case kindJob:
			if err := e.removeContainer(ctx, c.ID, c.SnapshotKey); err != nil {
				return fmt.Errorf("cannot remove job %s of a former process: %w", c.ID, err)
			}
		case kindInstance:
			rec, err := loadRecord(c)
			if err != nil {
				// Made by a version that we do not understand: it must not
				// run unseen, and must not be removed unasked either.
				return fmt.Errorf("%w; remove it by hand: ctr -n %s containers rm %s", err, e.cfg.Namespace, c.ID)
			}
			k := newKeeper(e, rec)
			k.stored = true
			found = append(found, k)
			members = append(members, Member{Request: rec.request(), Sandbox: rec.sandbox()})
		default:
			e.log.Warn("a container that is not ours is in our namespace; leaving it alone", "id", c.ID, "namespace", e.cfg.Namespace)
		}
	}
	if err := e.sweep(found); err != nil {
		return err
	}
	ends := make([]<-chan ending, len(found))
	for i, k := range found {
		ends[i] = e.adopt(k, processes[k.id])
		k.publish(nil)
	}
	if e.cfg.Found != nil {
		e.cfg.Found()
	}
	lost, err := e.cfg.Network.Restore(ctx, members)
	if err != nil {
		return fmt.Errorf("cannot restore the containers' networks: %w", err)
	}
	for _, k := range found {
		if slices.Contains(lost, k.id) {
			k.publish(disconnect)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, k := range found {
		e.keep(k, ends[i])
	}
	return nil
}

// sweep removes files of containers that are not there any more.
func (e *Engine) sweep(kept []*keeper) error {
	if err := os.RemoveAll(filepath.Join(e.cfg.RunDir, "fifo")); err != nil {
		return fmt.Errorf("cannot remove the pipes of former jobs: %w", err)
	}
	dirs, err := os.ReadDir(filepath.Dir(e.filesDir("x")))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot list the containers' files: %w", err)
	}
	for _, dir := range dirs {
		if slices.ContainsFunc(kept, func(k *keeper) bool { return k.id == dir.Name() }) {
			continue
		}
		if err := e.removeFiles(dir.Name()); err != nil {
			return err
		}
	}
	return nil
}

// foundProcess is what containerd knows about a process.
type foundProcess struct {
	running bool
	stopped bool
	code    uint32
	at      time.Time
}

func (e *Engine) processes(ctx context.Context) (map[string]foundProcess, error) {
	list, err := e.client.TaskService().List(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot list the processes: %w", err)
	}
	out := map[string]foundProcess{}
	for _, p := range list.Tasks {
		f := foundProcess{code: p.ExitStatus, at: p.ExitedAt.AsTime()}
		switch strings.ToLower(p.Status.String()) {
		case "running", "paused", "pausing":
			f.running = true
		case "stopped":
			f.stopped = true
		}
		out[p.ID] = f
	}
	return out, nil
}

// adopt brings a keeper into the state that its container is in.
func (e *Engine) adopt(k *keeper, p foundProcess) <-chan ending {
	row := &k.rec.Instance
	if !p.running && !isBound(row.NetnsPath) {
		// The machine was restarted, and the network with it: these addresses
		// go to whoever starts first, and would be of two containers.
		disconnect(row)
	}
	if k.rec.Once != nil {
		return e.adoptOnce(k, p)
	}
	if k.rec.Stop != nil {
		k.askStop()
		row.State = platform.InstanceDraining
		if !k.rec.Stop.TermAt.IsZero() {
			row.State = platform.InstanceStopping
		}
	}
	switch {
	case p.running:
		k.alive = true
		if k.rec.Stop == nil {
			row.State, row.Reason, row.RetryAt = platform.InstanceRunning, "", time.Time{}
		}
		return e.await(e.ctx, k.id)
	case p.stopped:
		// It ended while nobody looked. The keeper counts it as any other
		// end and fills in the rest of the row.
		if k.rec.Stop == nil {
			row.State = platform.InstanceCrashed
		}
		exited := make(chan ending, 1)
		exited <- e.ended(k.id, p.code, p.at)
		return exited
	case k.rec.Stop == nil && row.State != platform.InstanceCrashed:
		// No process: the machine was restarted, or a start was cut off.
		row.State, row.Reason, row.StartedAt, row.RetryAt = platform.InstanceStarting, "", time.Time{}, time.Time{}
	}
	return nil
}

// disconnect takes the addresses out of a row.
func disconnect(i *platform.Instance) {
	i.NetnsPath, i.PrivateAddr, i.OutsideAddr = "", netip.Addr{}, netip.Addr{}
}

// isBound reports whether there is a network namespace at path. One that
// cannot be looked at is taken to be there: its container keeps its name.
func isBound(path string) bool {
	bound, err := namespace.Bound(path)
	return bound || err != nil
}
