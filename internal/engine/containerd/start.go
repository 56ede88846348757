package containerd

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/atollhq/atoll/internal/platform"
)

// start makes one attempt. It returns the channel of the process's end, nil
// when there is no process: then the row says why and when to try again.
func (k *keeper) start(ctx context.Context) <-chan ending {
	turn := k.e.starts.ask(k.appID())
	defer turn.leave()
	select {
	case <-turn.come:
	case <-k.stopC:
		return nil
	case <-k.endC:
		return nil
	case <-ctx.Done():
		return nil
	}
	// Not cut off by a stop: what is half made is harder to remove than what
	// is made, and it takes a tenth of a second.
	within, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := k.create(within); err != nil {
		if ctx.Err() == nil {
			k.failed(err)
		}
		return nil
	}
	k.failures = 0
	return k.e.await(ctx, k.id)
}

// create makes the sandbox, the container and its process.
func (k *keeper) create(ctx context.Context) error {
	e := k.e
	k.takeGroup(k.wishedGroup())
	sandbox, err := e.cfg.Network.Setup(ctx, k.record().request())
	if err != nil {
		return fmt.Errorf("cannot connect it to its networks: %w", err)
	}
	// The row has the addresses before the first instruction runs: a process
	// may bind to its own name at once.
	k.publish(func(i *platform.Instance) {
		i.State, i.Reason, i.StartedAt, i.RetryAt = platform.InstanceStarting, "", time.Time{}, time.Time{}
		i.NetnsPath, i.PrivateAddr, i.OutsideAddr = sandbox.NetnsPath, sandbox.PrivateAddr, sandbox.OutsideAddr
	})
	if err := e.deleteTask(ctx, k.id); err != nil {
		return fmt.Errorf("cannot remove the former process: %w", err)
	}
	if err := k.useImage(ctx); err != nil {
		return err
	}
	started := time.Now().UTC()
	if err := k.store(ctx, started); err != nil {
		return err
	}
	task, err := e.startTask(ctx, k.id, k.streams())
	if err != nil {
		return err
	}
	if k.attachment != nil {
		k.output = task.IO()
		if size := k.record().Once; size.Terminal && size.Width > 0 && size.Height > 0 {
			// The specification's size is only a wish to some runtimes.
			if err := task.Resize(ctx, uint32(size.Width), uint32(size.Height)); err != nil {
				e.log.Debug("cannot set the size of a terminal", "container", k.label(), "error", err)
			}
		}
	}
	k.mu.Lock()
	k.alive = true
	k.mu.Unlock()
	k.publish(func(i *platform.Instance) { i.State, i.StartedAt = platform.InstanceRunning, started })
	return nil
}

// useImage looks up, before the first attempt, what is needed of the image.
func (k *keeper) useImage(ctx context.Context) error {
	rec := k.record()
	if rec.Root != "" {
		return nil
	}
	info, err := k.e.images.info(ctx, rec.Workload.Image)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rec.Root, k.rec.User = info.root, info.user
	return nil
}

// store writes the container, with a new file system, to containerd.
func (k *keeper) store(ctx context.Context, started time.Time) error {
	k.mu.Lock()
	old := k.rec.snapshotKey()
	k.rec.Attempt++
	rec, stored := k.rec, k.stored
	k.mu.Unlock()
	rec.Instance.StartedAt = started // true by the time anybody reads it

	mounts, err := k.e.writeFiles(rec)
	if err != nil {
		return err
	}
	c, err := rec.container(k.e.host.instanceSpec(rec, k.e.cfg.Entry, k.e.cgroup(k.id), mounts))
	if err != nil {
		return err
	}
	containers := k.e.client.ContainerService()
	if !stored {
		// The container goes first: as long as it names the snapshot, the
		// garbage collection spares it.
		_, err := containers.Create(ctx, c)
		if err != nil && !errdefs.IsAlreadyExists(err) { // exists: an attempt before was cut off behind the creation
			return fmt.Errorf("cannot create the container: %w", err)
		}
		k.mu.Lock()
		k.stored = true
		k.mu.Unlock()
		if err == nil {
			return k.e.prepareRoot(ctx, rec.snapshotKey(), rec.Root)
		}
	}
	// The former snapshot goes last: it keeps the layers of an image that is
	// deleted already.
	if err := k.e.prepareRoot(ctx, rec.snapshotKey(), rec.Root); err != nil {
		return err
	}
	if _, err := containers.Update(ctx, c); err != nil {
		return fmt.Errorf("cannot update the container: %w", err)
	}
	if err := k.e.removeRoot(ctx, old); err != nil {
		k.e.log.Warn("an old file system is left to containerd's garbage collection", "container", k.label(), "error", err)
	}
	return nil
}

// Private

// prepareRoot makes the writable file system of a container.
func (e *Engine) prepareRoot(ctx context.Context, key, parent string) error {
	s := e.client.SnapshotService(snapshotter)
	_, err := s.Prepare(ctx, key, parent)
	if errdefs.IsAlreadyExists(err) {
		// Left by an attempt that was cut off; nobody knows what is in it.
		if err := s.Remove(ctx, key); err != nil {
			return fmt.Errorf("cannot remove an old file system: %w", err)
		}
		_, err = s.Prepare(ctx, key, parent)
	}
	if err != nil {
		return fmt.Errorf("cannot make the container's file system from its image: %w", err)
	}
	return nil
}

func (e *Engine) removeRoot(ctx context.Context, key string) error {
	if err := e.client.SnapshotService(snapshotter).Remove(ctx, key); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("cannot remove a file system: %w", err)
	}
	return nil
}

// startTask starts the process of a container that is stored.
func (e *Engine) startTask(ctx context.Context, id string, io cio.Creator) (client.Task, error) {
	c, err := e.client.LoadContainer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("cannot load the container: %w", err)
	}
	create := func() (client.Task, error) {
		defer e.hold(id)()
		return c.NewTask(ctx, io)
	}
	task, err := create()
	// After the death of a shim, or of this process in the middle of a start,
	// containerd says that there is no task while it is still clearing away.
	for isInTheWay(err) && pause(ctx, 100*time.Millisecond) {
		if err := e.deleteTask(ctx, id); err != nil {
			return nil, fmt.Errorf("cannot remove the former process: %w", err)
		}
		task, err = create()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot create the process: %s", tidy(err))
	}
	if err := task.Start(ctx); err != nil {
		return nil, fmt.Errorf("cannot start the process: %s", tidy(err))
	}
	return task, nil
}

// isInTheWay reports whether a process could not be created because of what
// is left of a former one.
func isInTheWay(err error) bool {
	return errdefs.IsAlreadyExists(err) || err != nil && strings.Contains(err.Error(), "failed to start shim: mkdir") && strings.Contains(err.Error(), "file exists")
}

// tidy drops the layers of prefixes that shim and runc put before what
// matters.
func tidy(err error) string {
	text := err.Error()
	for _, noise := range []string{"failed to create shim task: ", "OCI runtime create failed: ", "OCI runtime start failed: ", "runc create failed: "} {
		text = strings.ReplaceAll(text, noise, "")
	}
	return text
}

// logTo hands the output of a process to the log writer, which is a process
// of its own. Arguments arrive there in any order, as name, value, name,
// value.
func (e *Engine) logTo(appID, label string) cio.Creator {
	args := url.Values{"dir": {e.cfg.LogDir}, "app": {appID}, "label": {label}}
	return cio.LogURI(&url.URL{Scheme: "binary", Path: e.cfg.LoggerPath, RawQuery: args.Encode()})
}

func (e *Engine) task(ctx context.Context, id string) (client.Task, error) {
	c, err := e.client.LoadContainer(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.Task(ctx, nil)
}

func (e *Engine) kill(ctx context.Context, id string, sig syscall.Signal) error {
	task, err := e.task(ctx, id)
	if err != nil {
		return err
	}
	return task.Kill(ctx, sig)
}

// deleteTask removes what is left of the process of a container, killing it
// when it runs. No process, or no container, is no error.
func (e *Engine) deleteTask(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	task, err := e.task(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer e.hold(id)()
	if _, err := task.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

func (e *Engine) cgroup(id string) string { return e.cfg.CgroupParent + "/" + id }

func (e *Engine) filesDir(id string) string { return filepath.Join(e.cfg.RunDir, "instances", id) }

// writeFiles writes the files that a container sees in /etc. They are in the
// run folder, and are written before every start.
func (e *Engine) writeFiles(rec record) ([]specs.Mount, error) {
	dir := e.filesDir(rec.Instance.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the container's files: %w", err)
	}
	w := rec.Workload
	hostname := platform.Hostname(w.AppName, w.Type, rec.Instance.Number)
	files := map[string]string{
		"hosts":       hosts(hostname, rec.sandbox()),
		"hostname":    hostname + "\n",
		"resolv.conf": e.cfg.ResolvConf,
	}
	mounts := extraMounts(rec)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("cannot make the container's files: %w", err)
		}
		mounts = append(mounts, bind(path, "/etc/"+name, true))
	}
	return mounts, nil
}

func extraMounts(rec record) []specs.Mount {
	var mounts []specs.Mount
	if rec.Once != nil {
		for _, m := range rec.Once.Mounts {
			mounts = append(mounts, bind(m.Source, m.Target, m.ReadOnly))
		}
	}
	return mounts
}

func (e *Engine) removeFiles(id string) error {
	if err := os.RemoveAll(e.filesDir(id)); err != nil {
		return fmt.Errorf("cannot remove a container's files: %w", err)
	}
	return nil
}

// hosts is /etc/hosts: a process that binds to its host name binds to its
// private address.
func hosts(hostname string, s Sandbox) string {
	own := "127.0.1.1"
	switch {
	case s.PrivateAddr.IsValid():
		own = s.PrivateAddr.String()
	case s.OutsideAddr.IsValid():
		own = s.OutsideAddr.String()
	}
	return "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + own + " " + hostname + "\n"
}
