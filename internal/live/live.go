// Package live holds values that readers can snapshot and follow: the
// mechanism below the roster and the directory, from which every view
// (names, routes, ps) is derived.
//
// A reader that is slow or starts late misses intermediate values, never the
// last one. It imports nothing of ours.
package live

import "sync"

// Value is a value with a successor. Values stored in it must not be
// modified afterwards: readers share them. The zero Value is not usable; see
// New.
type Value[T any] struct {
	mu   sync.Mutex
	now  T
	next chan struct{}
}

// New returns a Value that holds v.
func New[T any](v T) *Value[T] {
	return &Value[T]{now: v, next: make(chan struct{})}
}

// Load returns the present value and a channel that is closed as soon as it
// is superseded. The loop of every view is: Load, use, wait, again.
func (v *Value[T]) Load() (T, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now, v.next
}

// Update replaces the value by change(present value), atomically with
// respect to other updates, and wakes all readers. When change returns false
// nothing happened and nobody is woken. change must not modify its argument.
func (v *Value[T]) Update(change func(T) (T, bool)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, changed := change(v.now)
	if !changed {
		return
	}
	v.now = now
	close(v.next)
	v.next = make(chan struct{})
}
