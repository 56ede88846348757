package containerd

import (
	"slices"
	"sync"
)

// turns bounds how much of one kind of work is done at a time, and shares it
// out among apps: an app whose thousand containers wait for a turn delays
// another app's by one turn, not by a thousand. It is safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	free  int
	lines map[string][]*turn // who waits, by app
	next  []string           // the apps with a line, in the order of their turns
}

func newTurns(atOnce int) *turns { return &turns{free: atOnce, lines: map[string][]*turn{}} }

// turn is one piece of work's place in the line, or its permission to go on.
type turn struct {
	of  *turns
	app string
	// come is closed when it is the turn of this one.
	come chan struct{}
}

// ask lines up behind the app's others. The caller waits for come, unless it
// finds something better to do, and calls leave in any case.
func (t *turns) ask(app string) *turn {
	x := &turn{of: t, app: app, come: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 { // then nobody waits
		t.free--
		close(x.come)
		return x
	}
	if len(t.lines[app]) == 0 {
		t.next = append(t.next, app)
	}
	t.lines[app] = append(t.lines[app], x)
	return x
}

// leave ends the turn, or the wait for it. It is called once.
func (x *turn) leave() {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	select {
	case <-x.come:
		x.of.pass()
	default:
		x.of.drop(x)
	}
}

// pass gives a turn that ended to the next. t.mu is held.
func (t *turns) pass() {
	if len(t.next) == 0 {
		t.free++
		return
	}
	app := t.next[0]
	x := t.lines[app][0]
	t.drop(x)
	if len(t.lines[app]) > 0 { // the others first
		t.next = append(slices.Delete(t.next, 0, 1), app)
	}
	close(x.come)
}

// drop takes x out of its line. t.mu is held.
func (t *turns) drop(x *turn) {
	line := slices.DeleteFunc(t.lines[x.app], func(y *turn) bool { return y == x })
	if len(line) > 0 {
		t.lines[x.app] = line
		return
	}
	delete(t.lines, x.app)
	t.next = slices.DeleteFunc(t.next, func(app string) bool { return app == x.app })
}
