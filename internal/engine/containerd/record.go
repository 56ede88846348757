package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/atollhq/atoll/internal/platform"
)

// record is what a keeper must not forget. It is kept in containerd as an
// extension of the container (labels are limited to 4 KiB, an environment is
// not).
type record struct {
	// Workload is what was asked for when the container was made; its
	// Numbers are left out. Containers that run are left alone, so its
	// environment stays that of the container's first start.
	Workload platform.Workload
	// Instance is the row as last published, without its observation.
	Instance platform.Instance
	// Root and User come from the image, so that a restart works without it.
	Root string
	User user
	// Group is who shares its shim, "" for a container that is alone with it.
	Group string
	// Attempt counts starts; each has a file system of its own.
	Attempt int
	// Streak counts crashes in a row.
	Streak int
	// Stop is set once the container is to go.
	Stop *stopRecord
	// Once is set for a container that runs once.
	Once *onceRecord
}

// stopRecord is how far a stop is.
type stopRecord struct {
	// DrainUntil is when SIGTERM is due.
	DrainUntil time.Time
	// TermAt is when SIGTERM was sent; zero before.
	TermAt time.Time
}

func newRecord(w platform.Workload, number int, node string, now time.Time) record {
	w.Numbers = nil
	return record{Workload: w, Instance: platform.Instance{
		ID:         platform.NewID(),
		WorkloadID: w.ID,
		ProjectID:  w.ProjectID,
		NetworkID:  w.Network.ID,
		AppID:      w.AppID,
		AppName:    w.AppName,
		Type:       w.Type,
		Kind:       w.Kind,
		Number:     number,
		Generation: w.Generation,
		Active:     w.Active,
		State:      platform.InstanceStarting,
		Size:       w.Size.Name,
		Command:    w.Command,
		Image:      w.Image,
		Version:    w.Version,
		Node:       node,
		CreatedAt:  now.UTC(),
	}}
}

// bound limits what lies ahead to what it can be at most. Times are of the
// machine's clock: when that is set back between two processes of ours, what
// is due in a minute would be due in years.
func (r *record) bound(now time.Time) {
	r.Instance.RetryAt = earlier(r.Instance.RetryAt, now.Add(longestDelay))
	if r.Stop != nil {
		r.Stop.DrainUntil = earlier(r.Stop.DrainUntil, now.Add(platform.DrainDelay))
		r.Stop.TermAt = earlier(r.Stop.TermAt, now)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b.UTC()
	}
	return a
}

// request is what the network has to make for the container.
func (r record) request() Request {
	q := Request{InstanceID: r.Instance.ID, Network: r.Workload.Network, Group: r.Workload.Group, Private: r.Workload.Network.ID != "", Outside: true}
	if r.Workload.Kind == platform.KindApp && platform.IsPublic(r.Workload.Type) {
		q.PublicPort = platform.Port
	}
	return q
}

func (r record) sandbox() Sandbox {
	return Sandbox{NetnsPath: r.Instance.NetnsPath, PrivateAddr: r.Instance.PrivateAddr, OutsideAddr: r.Instance.OutsideAddr}
}

// snapshotKey names the file system of the present attempt.
func (r record) snapshotKey() string { return fmt.Sprintf("%s-%d", r.Instance.ID, r.Attempt) }

// The marks of our containers.
const (
	recordExtension = "atoll.dev/record"
	kindLabel       = "atoll.dev/kind"
	kindInstance    = "instance"
	kindJob         = "job"
)

const (
	runtimeName = "io.containerd.runc.v2"
	snapshotter = "overlayfs"
)

// container is the record as containerd holds it.
func (r record) container(spec *specs.Spec) (containers.Container, error) {
	c := containers.Container{
		ID: r.Instance.ID,
		Labels: map[string]string{
			kindLabel:             kindInstance,
			"atoll.dev/app":       r.Instance.AppName,
			"atoll.dev/container": r.Instance.Label(),
			"atoll.dev/workload":  r.Instance.WorkloadID,
		},
		Image:       r.Instance.Image,
		Runtime:     containers.RuntimeInfo{Name: runtimeName},
		SnapshotKey: r.snapshotKey(),
		Snapshotter: snapshotter,
	}
	var err error
	if spec != nil {
		if c.Spec, err = typeurl.MarshalAny(spec); err != nil {
			return c, fmt.Errorf("cannot encode the container's specification: %w", err)
		}
	}
	value, err := json.Marshal(r)
	if err != nil {
		return c, fmt.Errorf("cannot encode the container's record: %w", err)
	}
	c.Extensions = map[string]typeurl.Any{recordExtension: jsonAny(value)}
	return c, nil
}

// saveRecord writes r beside the container that exists already.
func (e *Engine) saveRecord(ctx context.Context, r record) error {
	c, err := r.container(nil)
	if err != nil {
		return err
	}
	if _, err := e.client.ContainerService().Update(ctx, c, "extensions."+recordExtension); err != nil {
		return fmt.Errorf("cannot save the state of %s in containerd: %w", r.Instance.Label(), err)
	}
	return nil
}

func loadRecord(c containers.Container) (record, error) {
	var r record
	value, ok := c.Extensions[recordExtension]
	if !ok {
		return r, fmt.Errorf("container %s has no record", c.ID)
	}
	if err := json.Unmarshal(value.GetValue(), &r); err != nil {
		return r, fmt.Errorf("cannot read the record of container %s: %w", c.ID, err)
	}
	if r.Instance.ID != c.ID {
		return r, fmt.Errorf("the record of container %s is about %q", c.ID, r.Instance.ID)
	}
	r.bound(time.Now())
	return r, nil
}

// jsonAny is JSON in the form in which containerd stores extensions.
type jsonAny []byte

// GetTypeUrl implements typeurl.Any.
func (jsonAny) GetTypeUrl() string { return recordExtension }

// GetValue implements typeurl.Any.
func (a jsonAny) GetValue() []byte { return a }
