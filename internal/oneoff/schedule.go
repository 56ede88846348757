package oneoff

import (
	"context"
	"fmt"
	"time"

	"github.com/atollhq/atoll/internal/cronfile"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// maxLate is the latest that a run may begin after it was due, whatever the
// interval (CR-5). A run that the server was not there for is made up for
// within this, and left out otherwise.
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
	due, interval, err := dueAt(j, now)
	if err != nil || due.After(now) {
		return due, err
	}
	// Two runs of a task never overlap. The former one was stopped when this
	// one became due; it has the grace of a stop.
	if l := s.runOf(j.ID); l != nil {
		return now.Add(time.Second), s.stop(ctx, l, "its next run is due", true)
	}
	return time.Time{}, s.startJob(ctx, j, due, interval)
}

// dueAt is when the next run of a task is due: now, when the last one that
// was due has not been and is not too late.
func dueAt(j platform.Job, now time.Time) (due time.Time, interval time.Duration, err error) {
	if interval, err = cronfile.Interval(j.Schedule); err != nil {
		return due, 0, err
	}
	since := j.CreatedAt
	if j.LastRun.After(since) {
		since = j.LastRun
	}
	if due, err = cronfile.Next(j.Schedule, since); err != nil || due.After(now) {
		return due, interval, err
	}
	late := min(interval/10, maxLate)
	// There may have been many since; only the newest counts.
	if from := now.Add(-late - time.Minute); due.Before(from) {
		if due, err = cronfile.Next(j.Schedule, from); err != nil {
			return due, interval, err
		}
	}
	for !due.After(now) && now.Sub(due) > late {
		if due, err = cronfile.Next(j.Schedule, due); err != nil {
			return due, interval, err
		}
	}
	return due, interval, nil
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

// startJob starts a run of a task.
func (s *Service) startJob(ctx context.Context, j platform.Job, due time.Time, interval time.Duration) error {
	app, err := s.Store.AppByID(ctx, j.AppID)
	if err != nil {
		return fmt.Errorf("cannot find its app: %w", err)
	}
	o := platform.OneOff{ID: platform.NewID(), Kind: platform.KindCron, Command: j.Command, Size: j.Size, ReleaseID: app.ReleaseID,
		Detached: true, Task: j.ID, State: platform.OneOffRunning, Deadline: due.Add(min(interval, cronfile.MaxRun))}
	l, err := s.add(ctx, j.AppID, &store.Change{OneOff: &o}, Attached{})
	if err != nil {
		return fmt.Errorf("cannot record it: %w", err)
	}
	s.launch(ctx, l, nil)
	return nil
}
