package sandbox

import (
	"fmt"
	"net/netip"
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
