package containerd

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// came reports whether it is somebody's turn.
func (x *turn) came() bool {
	select {
	case <-x.come:
		return true
	default:
		return false
	}
}

func TestTurnsAreSharedByApps(t *testing.T) {
	all := newTurns(1)
	running := all.ask("large")
	names := map[*turn]string{}
	for _, name := range []string{"large 1", "large 2", "large 3", "small 1", "tiny 1", "small 2"} {
		names[all.ask(name[:len(name)-2])] = name
	}
	var order []string
	for len(names) > 0 {
		running.leave()
		var now []*turn
		for x := range names {
			if x.came() {
				now = append(now, x)
			}
		}
		if len(now) != 1 {
			t.Fatalf("it is the turn of %d after %v, want 1", len(now), order)
		}
		running = now[0]
		order = append(order, names[running])
		delete(names, running)
	}
	running.leave()
	if want := []string{"large 1", "small 1", "tiny 1", "large 2", "small 2", "large 3"}; !slices.Equal(order, want) {
		t.Errorf("the order is %v, want %v", order, want)
	}
	if all.free != 1 || len(all.lines) != 0 || len(all.next) != 0 {
		t.Errorf("after all: %d free, lines %v, next %v", all.free, all.lines, all.next)
	}
}

func TestTurnOfOneThatLeftGoesToTheNext(t *testing.T) {
	all := newTurns(1)
	running := all.ask("a")
	gone, other, stays := all.ask("b"), all.ask("c"), all.ask("b")
	gone.leave()
	other.leave()
	if running.leave(); !stays.came() {
		t.Fatal("the one that still waits does not get its turn")
	}
	if stays.leave(); all.free != 1 || len(all.lines) != 0 || len(all.next) != 0 {
		t.Errorf("after all: %d free, lines %v, next %v", all.free, all.lines, all.next)
	}
}

// TestTurnsTogether has many come and go, some without waiting.
func TestTurnsTogether(t *testing.T) {
	const atOnce = 3
	all := newTurns(atOnce)
	var now, most atomic.Int32
	var work sync.WaitGroup
	for n := range 300 {
		work.Go(func() {
			x := all.ask([]string{"a", "b", "c"}[n%3])
			defer x.leave()
			if n%7 == 0 {
				return
			}
			<-x.come
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			now.Add(-1)
		})
	}
	work.Wait()
	if most.Load() > atOnce {
		t.Errorf("%d had a turn at a time, want %d at most", most.Load(), atOnce)
	}
	if all.free != atOnce || len(all.lines) != 0 || len(all.next) != 0 {
		t.Errorf("after all: %d free, lines %v, next %v", all.free, all.lines, all.next)
	}
}
