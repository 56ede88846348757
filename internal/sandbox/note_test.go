package sandbox

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Containers that go at the same time find the same old notes.
func TestNotesAreForgottenAtTheSameTime(t *testing.T) {
	var hours atomic.Int64 // each look at the clock is an hour later
	m, err := New(Config{RunDir: t.TempDir(), OutsidePrefix: netip.MustParsePrefix("172.17.0.0/16"), Now: func() time.Time {
		return time.Unix(0, 0).Add(time.Duration(hours.Add(1)) * time.Hour)
	}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		id := fmt.Sprint(i)
		if err := m.writeNote(Sandbox{Request: Request{InstanceID: id}}); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := m.removeNote(id); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A kill in the middle of a removal must not cut the rest of the addresses
// short: what begins to rest is young already. A folder in the way of the
// second step stands for the kill.
func TestANoteIsYoungBeforeItRests(t *testing.T) {
	now := time.Now()
	m, err := New(Config{RunDir: t.TempDir(), OutsidePrefix: netip.MustParsePrefix("172.17.0.0/16"), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.writeNote(Sandbox{Request: Request{InstanceID: "a"}}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if err := os.Mkdir(filepath.Join(m.notesDir(), "a"+restingNote), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := m.removeNote("a"); err == nil {
		t.Fatal("the second step was not stopped")
	}
	info, err := os.Stat(m.note("a"))
	if err != nil || info.ModTime().Before(now.Add(-time.Second)) {
		t.Errorf("the note is of %v, an hour old (%v)", info.ModTime(), err)
	}
}
