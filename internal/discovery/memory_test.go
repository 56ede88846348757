package discovery

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/roster"
)

// recall is what a new process of the server knows of some containers before
// it looked at any.
func recall(t *testing.T, file string, rows ...platform.Instance) *roster.Roster {
	t.Helper()
	r := roster.New()
	for _, inst := range rows {
		inst.Observation = platform.Observation{}
		r.Put(inst)
	}
	o, err := New(Config{Roster: r, File: file})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Recall(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReadinessOutlivesTheServer(t *testing.T) {
	m, file := newMachine(), filepath.Join(t.TempDir(), "observed.json")
	r, stop := observe(t, m, func(c *Config) { c.File = file })
	same, another, unready := instance("same", "api"), instance("another", "api"), instance("unready", "api")
	m.listen("/ns/same", socket("tcp", "0.0.0.0:3000"), socket("udp", "10.240.0.2:53"))
	m.listen("/ns/another", socket("tcp", "0.0.0.0:3000"))
	for _, inst := range []platform.Instance{same, another, unready} {
		r.Put(inst)
	}
	was := seen(t, r, "same", "ready", ready)
	seen(t, r, "another", "ready", ready)
	stop()

	another.StartedAt = another.StartedAt.Add(time.Nanosecond) // it crashed meanwhile
	again := recall(t, file, same, another, unready)
	now, _ := again.Get("same")
	if diff := cmp.Diff(was, now.Observation, cmp.Comparer(func(a, b platform.Listener) bool { return a == b })); diff != "" {
		t.Errorf("recalled otherwise (-was +now):\n%s", diff)
	}
	for _, id := range []string{"another", "unready"} {
		if inst, _ := again.Get(id); inst.Observation.Ready {
			t.Errorf("%s is ready before it was looked at", id)
		}
	}
}

// TestReadinessIsNotedWithoutAStop: a server that is killed notes nothing at
// its end.
func TestReadinessIsNotedWithoutAStop(t *testing.T) {
	m, file := newMachine(), filepath.Join(t.TempDir(), "observed.json")
	r, _ := observe(t, m, func(c *Config) { c.File = file })
	for _, id := range []string{"a", "b"} { // the second while the first is noted
		m.listen("/ns/"+id, socket("tcp", "0.0.0.0:3000"))
		inst := instance(id, "api")
		r.Put(inst)
		lab.WaitFor(t, 20*time.Second, id+" to be noted", func() (bool, error) {
			recalled, _ := recall(t, file, inst).Get(id)
			return recalled.Observation.Ready, nil
		})
	}
}

// A crash while the server is down does not make a stranger of a service.
func TestThatAContainerHasServedOutlivesTheServer(t *testing.T) {
	m, file := newMachine(), filepath.Join(t.TempDir(), "observed.json")
	r, stop := observe(t, m, func(c *Config) { c.File = file })
	inst := instance("a", "api")
	m.listen("/ns/a", socket("tcp", "0.0.0.0:3000"))
	r.Put(inst)
	seen(t, r, "a", "ready", ready)
	inst.StartedAt = time.Time{} // it waits for its next start, and so finds it the next server
	r.Put(inst)
	stop()
	for _, started := range []time.Time{{}, time.Now()} {
		inst.StartedAt = started
		again, _ := recall(t, file, inst).Get("a")
		if !again.Observation.Served || again.Observation.Ready {
			t.Errorf("started at %v: recalled %+v", started, again.Observation)
		}
	}
}

func TestADamagedNoteIsNoKnowledge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "observed.json")
	if err := os.WriteFile(file, []byte(`[{"id":"a"`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := roster.New()
	r.Put(instance("a", "api"))
	o, err := New(Config{Roster: r, File: file})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Recall(); err == nil {
		t.Error("it should be told")
	}
	if inst, _ := r.Get("a"); inst.Observation.Ready {
		t.Error("ready by a damaged file")
	}
}
