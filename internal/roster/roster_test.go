package roster

import (
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

func TestObservationBelongsToAProcess(t *testing.T) {
	r := New()
	first := time.Unix(1, 0)
	r.Put(platform.Instance{ID: "a", State: platform.InstanceRunning, StartedAt: first})
	r.Observe("a", first, platform.Observation{Ready: true})
	r.Put(platform.Instance{ID: "a", State: platform.InstanceDraining, StartedAt: first})
	if i, _ := r.Get("a"); !i.Observation.Ready || i.State != platform.InstanceDraining {
		t.Fatalf("the engine's write lost the observation: %+v", i)
	}
	r.Put(platform.Instance{ID: "a", State: platform.InstanceRunning, StartedAt: first.Add(time.Second)})
	if i, _ := r.Get("a"); i.Observation.Ready {
		t.Fatal("a new process counts as ready by what was seen of the old one")
	}
	// A look that began before the restart ends after it.
	r.Observe("a", first, platform.Observation{Ready: true})
	if i, _ := r.Get("a"); i.Observation.Ready {
		t.Fatal("a late look at the old process was recorded for the new one")
	}
}

func TestThatAContainerHasServedOutlivesItsProcess(t *testing.T) {
	r := New()
	first := time.Unix(1, 0)
	r.Put(platform.Instance{ID: "a", AppID: "app", Type: "api", Number: 2, StartedAt: first})
	for _, other := range []platform.Instance{{ID: "b", AppID: "app", Type: "api", Number: 1}, {ID: "c", AppID: "app", Type: "db", Number: 1}, {ID: "d", AppID: "bpp", Type: "api", Number: 1}} {
		r.Put(other)
	}
	if r.Served("app", "api") {
		t.Fatal("it has not listened yet")
	}
	r.Observe("a", first, platform.Observation{Served: true})
	for _, started := range []time.Time{first, {}, first.Add(time.Second)} { // it crashes, and starts again
		r.Put(platform.Instance{ID: "a", AppID: "app", Type: "api", Number: 2, StartedAt: started})
		if !r.Served("app", "api") {
			t.Fatalf("forgotten with a process that started at %v", started)
		}
	}
	for _, other := range [][2]string{{"app", "db"}, {"bpp", "api"}, {"app", "ap"}, {"zpp", "api"}} {
		if r.Served(other[0], other[1]) {
			t.Errorf("%v has not listened", other)
		}
	}
	r.Delete("a")
	if r.Served("app", "api") {
		t.Error("remembered although no such container is left")
	}
}

func TestSnapshotIsOrderedAndDoesNotChange(t *testing.T) {
	r := New()
	for _, i := range []platform.Instance{{ID: "c", Type: "web", Number: 2}, {ID: "a", Type: "web", Number: 1, Generation: 2}, {ID: "b", Type: "web", Number: 1, Generation: 1}} {
		r.Put(i)
	}
	before, changed := r.Snapshot()
	if len(before) != 3 || before[0].ID != "b" || before[1].ID != "a" || before[2].ID != "c" {
		t.Fatalf("order is %v", before)
	}
	r.Delete("a")
	select {
	case <-changed:
	default:
		t.Fatal("a deletion woke nobody")
	}
	if len(before) != 3 || before[1].ID != "a" {
		t.Fatal("a snapshot changed after it was taken")
	}
	after, changed := r.Snapshot()
	r.Delete("a")
	r.Observe("gone", time.Time{}, platform.Observation{Ready: true})
	r.Observe("b", time.Time{}, platform.Observation{})
	select {
	case <-changed:
		t.Fatal("readers were woken although nothing changed")
	default:
	}
	if len(after) != 2 {
		t.Fatalf("%d rows are left", len(after))
	}
}
