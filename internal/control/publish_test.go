package control

import (
	"fmt"
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/platform"
)

// The directory ends up as the store is, whoever publishes at the same time.
func TestPublishedIsWhatTheStoreHas(t *testing.T) {
	f := newFixture(t)
	for round := range 30 {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if _, err := f.RenameApp(t.Context(), f.user, f.app.ID, fmt.Sprintf("shop-%d-%d", round, i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		want, err := f.Store.AppByID(t.Context(), f.app.ID)
		if err != nil {
			t.Fatal(err)
		}
		apps, _ := f.Directory.Snapshot()
		if got := apps[f.app.ID].Name; got != want.Name {
			t.Fatalf("round %d: the directory says %s, the store %s", round, got, want.Name)
		}
	}
}

func TestAPublicationDoesNotBringBackWhatIsDestroyed(t *testing.T) {
	f := newFixture(t)
	for round := range 30 {
		a, err := f.CreateApp(t.Context(), f.user, fmt.Sprintf("brief-%d", round), "", "")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { f.Publish(a.ID) })
		}
		if err := f.DestroyApp(t.Context(), f.user, a.ID); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if apps, _ := f.Directory.Snapshot(); apps[a.ID].ID != "" {
			t.Fatalf("round %d: the directory has an app that is destroyed", round)
		}
	}
}

// A restart that ends just before is no reason to leave its containers behind.
func TestDestroyRemovesWhatRuns(t *testing.T) {
	for range 10 {
		f := newFixture(t)
		if _, err := f.Restart(t.Context(), f.user, f.app.ID, nil); err != nil {
			t.Fatal(err)
		}
		for {
			err := f.DestroyApp(t.Context(), f.user, f.app.ID)
			if err == nil {
				break
			}
			if platform.CodeOf(err) != platform.CodeConflict {
				t.Fatal(err)
			}
		}
		f.Close()
		if left, _ := f.Roster.Snapshot(); len(left) > 0 {
			t.Fatalf("containers are left: %+v", left)
		}
	}
}
