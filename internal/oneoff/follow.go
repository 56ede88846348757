package oneoff

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

// Recover takes up what an earlier process left. It is called once, when the
// engine has reported what runs and before it is told to remove what nobody
// wants.
func (s *Service) Recover(ctx context.Context) error {
	list, err := s.Store.UnfinishedOneOffs(ctx)
	if err != nil {
		return fmt.Errorf("cannot list the one-offs: %w", err)
	}
	rows, _ := s.Roster.Snapshot()
	held := map[string]bool{}
	for _, row := range rows {
		held[row.WorkloadID] = true
	}
	for _, o := range list {
		l := &live{id: o.ID, record: o, done: make(chan struct{})}
		s.live[o.ID] = l
		switch {
		case o.State == platform.OneOffWaiting:
			s.finish(ctx, l, exitNever, "the server was restarted before anybody connected")
		case !held[o.ID]:
			s.finish(ctx, l, exitNever, "the server was stopped before it had started")
		case !o.Detached:
			l.cause = "the server that it was connected to was restarted"
		}
	}
	s.sweep()
	return nil
}

// Run follows the roster until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var cleaning sync.WaitGroup
	cleaning.Go(func() { s.clean(ctx) })
	defer cleaning.Wait()
	defer close(s.closed)
	for {
		rows, changed := s.Roster.Snapshot()
		for _, row := range rows {
			if row.Kind != platform.KindApp {
				s.see(ctx, row)
			}
		}
		s.finishAgain(ctx)
		timer := time.NewTimer(time.Until(s.enforce(ctx, time.Now())))
		select {
		case <-changed:
		case <-s.woken:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Private

// see takes note of what a row tells.
func (s *Service) see(ctx context.Context, row platform.Instance) {
	l := s.find(row.WorkloadID)
	if l == nil {
		return
	}
	switch row.State {
	case platform.InstanceRunning:
		s.running(ctx, l)
		s.refit(ctx, l)
	case platform.InstanceFailed:
		s.finish(ctx, l, exitNever, row.Reason)
	case platform.InstanceEnded:
		code := exitNever
		if row.LastExit != nil {
			code = row.LastExit.Code
		}
		s.finish(ctx, l, code, row.Reason)
	}
}

// running ends the operation that starts a one-off.
func (s *Service) running(ctx context.Context, l *live) {
	o := s.snapshot(l)
	if l.started || o.OperationID == "" {
		return
	}
	op, err := s.Store.Operation(ctx, o.AppID, o.OperationID)
	if err == nil && op.Status == platform.OperationRunning {
		op.Status = platform.OperationDone
		err = s.Store.Commit(ctx, o.AppID, &store.Change{Operation: &op})
	}
	if err != nil && ctx.Err() == nil {
		s.Log.Error("Cannot finish the start of a one-off; trying again", "container", o.Label(), "error", err)
		return
	}
	l.started = true
}

// refit sets a size that came while the container was starting.
func (s *Service) refit(ctx context.Context, l *live) {
	s.mu.Lock()
	fits := l.attached.size() == l.given || l.record.State != platform.OneOffRunning
	s.mu.Unlock()
	if fits {
		return
	}
	if err := s.fit(ctx, l); err != nil && ctx.Err() == nil {
		s.Log.Warn("Cannot set the size of a terminal", "container", s.snapshot(l).Label(), "error", err)
	}
}

// finish ends a one-off, and logs it when that cannot be recorded.
func (s *Service) finish(ctx context.Context, l *live, code int, reason string) {
	if err := s.end(ctx, l, code, reason); err != nil {
		s.Log.Error("Cannot end a one-off; trying again", "container", s.snapshot(l).Label(), "error", err)
	}
}

// end records the end of a one-off, and then has what is left of it removed.
// Of several callers one does it. After an error Run tries again.
func (s *Service) end(ctx context.Context, l *live, code int, reason string) error {
	s.mu.Lock()
	if l.recording {
		s.mu.Unlock()
		return nil
	}
	l.recording = true
	if l.end == nil {
		if l.cause != "" {
			reason = l.cause
		}
		l.end = &ending{code: code, reason: reason, at: time.Now()}
	}
	o := l.record
	code, reason = l.end.code, l.end.reason
	o.State, o.ExitCode, o.Error, o.FinishedAt = platform.OneOffEnded, code, reason, l.end.at
	s.mu.Unlock()
	ch := &store.Change{OneOff: &o}
	if op, err := s.Store.Operation(ctx, o.AppID, o.OperationID); err == nil && op.Status == platform.OperationRunning {
		op.Status = platform.OperationDone
		if code == exitNever && reason != "" {
			op.Status, op.Error = platform.OperationError, reason
		}
		ch.Operation = &op
	}
	err := s.Store.Commit(ctx, o.AppID, ch)
	appGone := platform.CodeOf(err) == platform.CodeNotFound
	if err != nil && !appGone {
		s.mu.Lock()
		l.recording = false
		s.mu.Unlock()
		time.AfterFunc(time.Second, s.wake)
		return fmt.Errorf("cannot record the end of %s: %w", o.Label(), err)
	}
	s.mu.Lock()
	l.record = o
	delete(s.live, o.ID)
	s.mu.Unlock()
	if reason != "" && !appGone && (o.Detached || o.Kind != platform.KindOneOff) {
		if err := s.say(o, "[atoll] "+reason); err != nil {
			s.Log.Error("Cannot write to the log of an app", "app", o.AppID, "error", err)
		}
	}
	if err := errors.Join(s.Engine.Remove(ctx, o.ID), s.discard(o.ID)); err != nil {
		s.Log.Error("Cannot remove a one-off; the next start does", "container", o.Label(), "error", err)
	}
	close(l.done)
	return nil
}

// say writes a line into the log of an app.
func (s *Service) say(o platform.OneOff, text string) error {
	log, err := s.OpenLog(o.AppID, o.Label())
	if err != nil {
		return err
	}
	log.Line([]byte(text))
	return log.Close()
}

// finishAgain records what could not be recorded before.
func (s *Service) finishAgain(ctx context.Context) {
	var left []*live
	s.mu.Lock()
	for _, l := range s.live {
		if l.end != nil {
			left = append(left, l)
		}
	}
	s.mu.Unlock()
	for _, l := range left {
		s.finish(ctx, l, l.end.code, l.end.reason)
	}
}

// enforce stops what is past its deadline and says when to look again.
func (s *Service) enforce(ctx context.Context, now time.Time) time.Time {
	next := now.Add(time.Hour)
	var late []*live
	s.mu.Lock()
	for _, l := range s.live {
		switch {
		case l.record.Deadline.IsZero() || l.uploading > 0 || l.cause != "" || l.end != nil:
		case now.Before(l.record.Deadline):
			if l.record.Deadline.Before(next) {
				next = l.record.Deadline
			}
		default:
			late = append(late, l)
		}
	}
	s.mu.Unlock()
	for _, l := range late {
		o := s.snapshot(l)
		cause := fmt.Sprintf("it was stopped after %v, the longest that is possible", o.Deadline.Sub(o.CreatedAt).Round(time.Second))
		if o.State == platform.OneOffWaiting {
			cause = "nobody connected to it in time"
		}
		if err := s.stop(ctx, l, cause, true); err != nil {
			s.Log.Error("Cannot stop a one-off that is late; trying again", "container", o.Label(), "error", err)
			s.mu.Lock()
			l.cause = ""
			s.mu.Unlock()
			next = now.Add(time.Second)
		}
	}
	return next
}
