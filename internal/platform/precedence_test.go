package platform

import (
	"testing"
	"time"
)

func TestWhoHoldsANumber(t *testing.T) {
	at := func(s InstanceState, generation int64, created int, ready, active bool) Instance {
		return Instance{Kind: KindApp, State: s, Generation: generation, CreatedAt: time.Unix(int64(created), 0), Active: active, Observation: Observation{Ready: ready}}
	}
	// From the best claim to the least.
	order := []Instance{
		at(InstanceRunning, 3, 30, true, true),
		at(InstanceRunning, 2, 20, true, true),
		at(InstanceRunning, 2, 10, true, true),
		at(InstanceRunning, 4, 40, true, false),
		at(InstanceStarting, 6, 60, false, false),
		at(InstanceRunning, 5, 50, false, true),
		at(InstanceCrashed, 4, 45, true, true),
		at(InstanceFailed, 9, 90, false, true),
		at(InstanceDraining, 8, 80, true, true),
		at(InstanceStopping, 7, 70, true, true),
	}
	for i, a := range order {
		for j, b := range order {
			if got, want := a.Precedes(b), i < j; got != want {
				t.Errorf("%d precedes %d: got %v, want %v (%+v, %+v)", i, j, got, want, a, b)
			}
		}
	}
}
