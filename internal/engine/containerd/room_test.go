package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/engine"
	"github.com/atollhq/atoll/internal/engine/enginetest"
	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/platform"
)

// waits reports whether a workload's only container waits for room.
func waits(rows []platform.Instance) bool {
	return len(rows) == 1 && rows[0].State == platform.InstanceStarting && strings.Contains(rows[0].Reason, "every place is taken") && !rows[0].RetryAt.IsZero()
}

// Where nobody leaves, a start fails; where somebody is just leaving, it waits.
func testRoom(t *testing.T, m *machine) {
	network := newIslands(m.netns())
	network.room, network.private = 1, true
	e, sink := m.opened(t, func(c *Config) { c.Network = network })
	// It ignores SIGTERM: how long it is leaving is for the test to say.
	first, second := workload("probe stubborn", 1), workload("probe wait", 1)
	first.StopGrace = time.Minute
	failed := func(rows []platform.Instance) bool {
		return len(rows) == 1 && rows[0].State == platform.InstanceFailed
	}
	must(t, e.Apply(context.Background(), first))
	leaving := sink.AwaitNumbers(t, first.ID, 1)[0]
	lab.WaitFor(t, 30*time.Second, "it to ignore SIGTERM", func() (bool, error) {
		return slices.ContainsFunc(m.log(t, first.AppID), func(l enginetest.LogLine) bool { return l.Text == "ready" }), nil
	})
	must(t, e.Apply(context.Background(), second))
	sink.Await(t, second.ID, "the failure", failed)
	remove(t, e, sink, second)

	must(t, e.Remove(context.Background(), first.ID))
	must(t, e.Apply(context.Background(), second))
	sink.Await(t, second.ID, "it to wait", waits)
	other := workload("probe wait", 1)
	other.Network.Key = 2 // where nobody leaves
	must(t, e.Apply(context.Background(), other))
	sink.Await(t, other.ID, "the failure", failed)
	remove(t, e, sink, other)

	must(t, e.Signal(context.Background(), leaving.ID, syscall.SIGKILL))
	if row := sink.AwaitNumbers(t, second.ID, 1)[0]; row.Reason != "" || !row.RetryAt.IsZero() {
		t.Errorf("after its start: %+v", row)
	}
	sink.AwaitGone(t, first.ID)
	remove(t, e, sink, second)
}

// One that runs once is not given up either, and one that waits can be stopped.
func testRoomLater(t *testing.T, m *machine) {
	network := newIslands(m.netns())
	network.room, network.in = 1, 50*time.Millisecond
	e, sink := m.opened(t, func(c *Config) { c.Network = network })
	first, never := workload("probe wait", 1), workload("probe wait", 1)
	must(t, e.Apply(context.Background(), first))
	sink.AwaitNumbers(t, first.ID, 1)
	once := workload("probe wait", 1)
	once.Kind = platform.KindOneOff
	must(t, e.Start(context.Background(), engine.OneOff{Workload: once}))
	must(t, e.Apply(context.Background(), never))
	sink.Await(t, once.ID, "it to wait", waits)
	sink.Await(t, never.ID, "it to wait", waits)
	remove(t, e, sink, never)
	network.makeRoom(2)
	if row := sink.AwaitNumbers(t, once.ID, 1)[0]; row.Reason != "" || !row.RetryAt.IsZero() {
		t.Errorf("after its start: %+v", row)
	}
	remove(t, e, sink, once)
	remove(t, e, sink, first)
}

func testRoomForJob(t *testing.T, m *machine) {
	network := newIslands(m.netns())
	network.room, network.in = 1, 50*time.Millisecond
	e, sink := m.opened(t, func(c *Config) { c.Network = network })
	w := workload("probe wait", 1)
	must(t, e.Apply(context.Background(), w))
	sink.AwaitNumbers(t, w.ID, 1)

	var output bytes.Buffer
	job := engine.Job{ID: platform.NewID(), Image: enginetest.Image, Args: []string{"/bin/bash", "-c", "exit 3"}, Outside: true, Output: &output}
	type result struct {
		code int
		err  error
	}
	done := make(chan result, 1)
	go func() {
		code, err := e.Run(context.Background(), job)
		done <- result{code, err}
	}()
	for end := time.Now().Add(30 * time.Second); network.refusals() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not ask for a place")
		}
	}
	network.makeRoom(2)
	if r := <-done; r.err != nil || r.code != 3 {
		t.Errorf("code %d, error %v, output %q", r.code, r.err, &output)
	}

	// It does not wait longer than it may.
	network.makeRoom(1)
	ctx, cancel := context.WithTimeoutCause(context.Background(), 200*time.Millisecond, errors.New("enough"))
	defer cancel()
	if _, err := e.Run(ctx, job); err == nil || fmt.Sprint(err) != "enough" {
		t.Errorf("error %v, want the cause", err)
	}
	remove(t, e, sink, w)
}
