package oneoff

import (
	"context"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/oneoff/oneofftest"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

func TestDueAt(t *testing.T) {
	day := func(clock string) time.Time {
		at, err := time.Parse("2006-01-02 15:04:05", "2026-05-05 "+clock)
		must(t, err)
		return at
	}
	for _, c := range []struct{ why, schedule, created, last, now, due string }{
		{"not yet", "0 * * * *", "09:30:00", "", "09:59:59", "10:00:00"},
		{"now", "0 * * * *", "09:30:00", "", "10:00:00", "10:00:00"},
		{"it ran", "0 * * * *", "09:30:00", "10:00:01", "10:00:02", "11:00:00"},
		{"a little late", "0 * * * *", "08:30:00", "09:00:00", "10:05:59", "10:00:00"},
		{"too late", "0 * * * *", "08:30:00", "09:00:00", "10:06:01", "11:00:00"},
		{"many were missed", "*/10 * * * *", "01:00:00", "02:00:00", "10:00:30", "10:00:00"},
		{"many were missed, and the last one too", "*/10 * * * *", "01:00:00", "02:00:00", "10:02:00", "10:10:00"},
		{"at most 20 minutes late", "0 3 * * *", "01:00:00", "", "03:19:00", "03:00:00"},
		{"new since the last", "0 3 * * *", "03:05:00", "", "03:06:00", ""},
		{"a tenth of the time to the next, not of the shortest", "0,10 9 * * *", "01:00:00", "09:00:01", "09:29:00", "09:10:00"},
		{"and of a short one", "0,10 9 * * *", "01:00:00", "", "09:02:00", "09:10:00"},
		{"the clock is back by a little", "*/10 * * * *", "01:00:00", "10:00:01", "09:59:59", "10:10:00"},
		{"the clock was ahead when it ran", "*/10 * * * *", "01:00:00", "23:00:00", "10:00:01", "10:00:00"},
		{"the clock was ahead when it was made", "*/10 * * * *", "23:00:00", "10:00:01", "10:00:02", "10:10:00"},
	} {
		j := platform.Job{Schedule: c.schedule, CreatedAt: day(c.created)}
		if c.last != "" {
			j.LastRun = day(c.last)
		}
		due, _, err := dueAt(j, day(c.now))
		must(t, err)
		want := day("03:00:00").AddDate(0, 0, 1)
		if c.due != "" {
			want = day(c.due)
		}
		if !due.Equal(want) {
			t.Errorf("%s: due at %v, want %v", c.why, due, want)
		}
	}
}

// TestARunMayGoOnUntilTheNext: and not only for the shortest time between two.
func TestARunMayGoOnUntilTheNext(t *testing.T) {
	f := newFixture(t)
	at := func(text string) time.Time {
		when, err := time.Parse(time.DateTime, text)
		must(t, err)
		return when
	}
	for _, c := range []struct{ schedule, due, deadline string }{
		{"0,10 9-17 * * *", "2026-05-05 09:00:00", "2026-05-05 09:10:00"},
		{"0,10 9-17 * * *", "2026-05-05 09:10:00", "2026-05-05 10:00:00"},
		{"0,10 9-17 * * *", "2026-05-05 17:10:00", "2026-05-06 05:10:00"}, // 12 hours
	} {
		_, err := f.consider(t.Context(), platform.Job{ID: c.due, AppID: f.app.ID, Schedule: c.schedule, Command: "x", Size: "M",
			CreatedAt: at("2026-05-01 00:00:00"), LastRun: at(c.due).Add(-time.Minute)}, at(c.due))
		must(t, err)
		started := f.engine.Started()
		o, err := f.store.OneOff(t.Context(), started[len(started)-1].Workload.ID)
		must(t, err)
		if !o.Deadline.Equal(at(c.deadline)) {
			t.Errorf("%s: the run that was due at %s may go on until %v, want %s", c.schedule, c.due, o.Deadline, c.deadline)
		}
	}
}

func TestARunOfATask(t *testing.T) {
	f := newFixture(t)
	must(t, f.store.Commit(t.Context(), f.app.ID, &store.Change{Jobs: []platform.Job{{Schedule: "*/10 * * * *", Command: "bin/purge", Size: "L"}}}))
	jobs, err := f.store.Jobs(t.Context(), f.app.ID)
	must(t, err)
	j := jobs[0]
	stopped := make(chan struct{}, 1)
	f.engine.Program = func(ctx context.Context, _ oneofftest.Process) int { <-ctx.Done(); stopped <- struct{}{}; return 143 }

	due, err := f.consider(t.Context(), j, j.CreatedAt)
	must(t, err)
	if n := len(f.engine.Started()); n > 0 || !due.After(j.CreatedAt) {
		t.Fatalf("%d runs before %v", n, due)
	}
	_, err = f.consider(t.Context(), j, due)
	must(t, err)
	w := f.engine.Started()[0].Workload
	if w.Kind != platform.KindCron || w.Type != "cron" || w.Command != "bin/purge" || w.Size.Name != "L" || w.Numbers[0] != 1 {
		t.Errorf("the engine got %+v", w)
	}
	list, err := f.store.UnfinishedOneOffs(t.Context())
	must(t, err)
	if o := list[0]; o.Label() != "cron-1" || !o.Deadline.Equal(due.Add(10*time.Minute)) {
		t.Errorf("recorded: %+v", o)
	}
	jobs, err = f.store.Jobs(t.Context(), f.app.ID)
	must(t, err)
	if jobs[0].LastRun.IsZero() {
		t.Error("the last run is not recorded")
	}

	// The next one is due and this one goes on: it is stopped, and only then
	// the next one starts.
	jobs[0].LastRun = due
	later := due.Add(10 * time.Minute)
	again, err := f.consider(t.Context(), jobs[0], later)
	must(t, err)
	if len(f.engine.Started()) != 1 || !again.Equal(later.Add(time.Second)) {
		t.Errorf("two runs at a time, or not looked at again (%v)", again)
	}
	<-stopped
	o, err := f.Wait(t.Context(), list[0].ID)
	must(t, err)
	if !o.TimedOut || o.Error != "its next run is due" {
		t.Errorf("it ended as %+v", o)
	}
	_, err = f.consider(t.Context(), jobs[0], later)
	must(t, err)
	if runs := f.engine.Started(); len(runs) != 2 || runs[1].Workload.Numbers[0] != 2 {
		t.Errorf("the runs are %+v", runs)
	}

	// A new version with the same task keeps what is known of it.
	must(t, f.store.Commit(t.Context(), f.app.ID, &store.Change{Jobs: []platform.Job{
		{Schedule: "0 3 * * *", Command: "other", Size: "M"}, {Schedule: "*/10 * * * *", Command: "bin/purge", Size: "L"}}}))
	kept, err := f.store.Jobs(t.Context(), f.app.ID)
	must(t, err)
	if len(kept) != 2 || kept[1].ID != j.ID || kept[1].LastRun.IsZero() || !kept[0].LastRun.IsZero() {
		t.Errorf("the tasks are %+v", kept)
	}
	must(t, f.store.Commit(t.Context(), f.app.ID, &store.Change{Jobs: []platform.Job{}}))
	if none, _ := f.store.Jobs(t.Context(), f.app.ID); len(none) > 0 {
		t.Errorf("the tasks are %+v", none)
	}
}
