package oneoff

import (
	"context"
	"fmt"
	"time"

	"github.com/atollhq/atoll/internal/cronfile"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// maxLate is the latest that a run may begin after it was due, however long it
// is until the next (CR-5). A run that the server was not there for is made up
// for within this, and left out otherwise.
const maxLate = 20 * time.Minute

// lookEvery bounds the time until a new task, or a change of the machine's
// clock, is noticed.
const lookEvery = 10 * time.Second

// RunSchedule starts scheduled tasks when they are due, until ctx ends.
func (s *Service) RunSchedule(ctx context.Context) error {
	for {
		next := s.startDue(ctx, time.Now())
		timer := time.NewTimer(min(time.Until(next), lookEvery))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// Private

// startDue starts what is due and says when to look again at the latest.
func (s *Service) startDue(ctx context.Context, now time.Time) time.Time {
	next := now.Add(lookEvery)
	jobs, err := s.Store.AllJobs(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.Log.Error("Cannot read the scheduled tasks; trying again", "error", err)
		}
		return next
	}
	for _, j := range jobs {
		at, err := s.consider(ctx, j, now)
		if err != nil && ctx.Err() == nil {
			s.Log.Error("Cannot start a scheduled task", "app", j.AppID, "schedule", j.Schedule, "error", err)
		}
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// consider starts a task if it is due, and returns when to look at it again.
func (s *Service) consider(ctx context.Context, j platform.Job, now time.Time) (time.Time, error) {
	due, next, err := dueAt(j, now)
	if err != nil || due.After(now) {
		return due, err
	}
	// Two runs of a task never overlap. The former one was stopped when this
	// one became due; it has the grace of a stop.
	if l := s.runOf(j.ID); l != nil {
		return now.Add(time.Second), s.stop(ctx, l, "its next run is due", true)
	}
	return time.Time{}, s.startJob(ctx, j, due, next)
}

// dueAt is when the next run of a task is due: now or before, when the last one
// that was due has not been and is not too late. Then next is when the one after
// it is due.
func dueAt(j platform.Job, now time.Time) (due, next time.Time, err error) {
	since := now.Add(-time.Minute)
	if known := lastSeen(j, now); !known.IsZero() {
		since = known
	}
	// There may have been many since; only the newest counts.
	if from := now.Add(-maxLate - time.Minute); since.Before(from) {
		since = from
	}
	for due, err = cronfile.Next(j.Schedule, since); err == nil && !due.After(now); due = next {
		if next, err = cronfile.Next(j.Schedule, due); err != nil {
			break
		}
		if now.Sub(due) <= min(next.Sub(due)/10, maxLate) {
			return due, next, nil
		}
	}
	return due, time.Time{}, err
}

// lastSeen is when a task ran, or was there, for the last time. A time far in
// the future is none: the clock was ahead then, and would silence the task
// until it is that late again.
func lastSeen(j platform.Job, now time.Time) (last time.Time) {
	for _, at := range []time.Time{j.CreatedAt, j.LastRun} {
		if at.After(last) && !at.After(now.Add(maxLate)) {
			last = at
		}
	}
	return last
}

// runOf is the run of a task that is under way, nil when there is none.
func (s *Service) runOf(jobID string) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.live {
		if l.record.Task == jobID {
			return l
		}
	}
	return nil
}

// startJob starts a run of a task, which may go on until the next is due.
func (s *Service) startJob(ctx context.Context, j platform.Job, due, next time.Time) error {
	app, err := s.Store.AppByID(ctx, j.AppID)
	if err != nil {
		return fmt.Errorf("cannot find its app: %w", err)
	}
	o := platform.OneOff{ID: platform.NewID(), Kind: platform.KindCron, Command: j.Command, Size: j.Size, ReleaseID: app.ReleaseID,
		Detached: true, Task: j.ID, State: platform.OneOffRunning, Deadline: due.Add(min(next.Sub(due), cronfile.MaxRun))}
	l, err := s.add(ctx, j.AppID, &store.Change{OneOff: &o}, Attached{})
	if err != nil {
		return fmt.Errorf("cannot record it: %w", err)
	}
	s.launch(ctx, l, nil)
	return nil
}
