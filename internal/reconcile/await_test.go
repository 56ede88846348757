package reconcile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

func TestCheck(t *testing.T) {
	began := time.Unix(1000, 0)
	started := began.Add(2 * time.Second)
	rows := []store.Workload{{ID: "w", Type: "web", Numbers: []int{1, 2}}}
	inst := func(n int, change func(*platform.Instance)) platform.Instance {
		i := platform.Instance{ID: string(rune('a' + n)), WorkloadID: "w", Type: "web", Number: n,
			State: platform.InstanceRunning, StartedAt: started, Observation: platform.Observation{Ready: true}}
		if change != nil {
			change(&i)
		}
		return i
	}
	waiting := func(i *platform.Instance) { i.Observation.Ready = false }
	tests := map[string]struct {
		instances []platform.Instance
		after     time.Duration
		waiting   int
		message   string
		timeout   bool
	}{
		"all ready":                  {instances: []platform.Instance{inst(1, nil), inst(2, nil)}},
		"one to come":                {instances: []platform.Instance{inst(1, nil)}, waiting: 1},
		"one not ready yet":          {instances: []platform.Instance{inst(1, nil), inst(2, waiting)}, after: 50 * time.Second, waiting: 1},
		"one not ready for too long": {instances: []platform.Instance{inst(1, nil), inst(2, waiting)}, after: 62 * time.Second, message: "web-2 was not ready", timeout: true},
		"one that ended": {instances: []platform.Instance{inst(1, nil), inst(2, func(i *platform.Instance) {
			i.State, i.LastExit = platform.InstanceCrashed, &platform.Exit{Code: 3}
		})}, message: "web-2 ended with code 3"},
		"one that ended and runs again": {instances: []platform.Instance{inst(1, nil), inst(2, func(i *platform.Instance) {
			i.LastExit = &platform.Exit{Code: 137, OOM: true}
			i.Size = "S"
		})}, message: "memory of size S"},
		"one that could not be made": {instances: []platform.Instance{inst(1, nil), inst(2, func(i *platform.Instance) {
			i.State, i.Reason = platform.InstanceFailed, "the network is full"
		})}, message: "the network is full"},
		"one beside its predecessor of the same number": {instances: []platform.Instance{inst(1, nil), inst(2, nil), inst(2, func(i *platform.Instance) {
			i.ID, i.State, i.LastExit = "z", platform.InstanceDraining, &platform.Exit{Code: 137}
		})}},
		"one that waits for room": {instances: []platform.Instance{inst(1, nil), inst(2, func(i *platform.Instance) {
			i.State, i.Reason, i.StartedAt = platform.InstanceStarting, "the network is full", time.Time{}
		})}, after: startLimit - time.Second, waiting: 1},
		"one that waited too long for room": {instances: []platform.Instance{inst(1, nil), inst(2, func(i *platform.Instance) {
			i.State, i.Reason, i.StartedAt = platform.InstanceStarting, "the network is full", time.Time{}
		})}, after: startLimit, message: "web-2 did not start within 5m0s: the network is full", timeout: true},
		"containers that never appear":                {after: startLimit, message: "did not start", timeout: true},
		"another workload's container does not count": {instances: []platform.Instance{inst(1, nil), inst(2, func(i *platform.Instance) { i.WorkloadID = "old" })}, waiting: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, next, err := check(tt.instances, rows, began, began.Add(tt.after))
			var late *NotReady
			switch {
			case tt.message == "" && err != nil:
				t.Fatalf("unexpected error %v", err)
			case tt.message != "" && (!errors.As(err, &late) || !strings.Contains(late.Message, tt.message) || late.Timeout != tt.timeout):
				t.Fatalf("error %v, want %q (timeout %v)", err, tt.message, tt.timeout)
			case got != tt.waiting:
				t.Fatalf("%d still to come, want %d", got, tt.waiting)
			case got > 0 && !next.After(began.Add(tt.after)):
				t.Fatalf("the next look is at %v, which is not in the future", next)
			}
		})
	}
}
