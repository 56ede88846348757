package namespace_test

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/namespace"
)

// here is the network namespace of the calling thread.
func here(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// wantHome fails if a thread of this process is in another network namespace
// than home, but for those that ended meanwhile.
func wantHome(t *testing.T, home string) {
	t.Helper()
	lab.WaitFor(t, 10*time.Second, "all threads to be in "+home, func() (bool, error) {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return false, err
		}
		for _, thread := range threads {
			at, err := os.Readlink("/proc/self/task/" + thread.Name() + "/ns/net")
			if err == nil && at != home {
				return false, errors.New("thread " + thread.Name() + " is in " + at)
			}
		}
		return true, nil
	})
}

func TestDo(t *testing.T) {
	lab.NeedRoot(t)
	home := here(t)
	path := made(t)
	var inside string
	own := errors.New("its own")
	err := namespace.DoAt(path, func() error {
		inside = here(t)
		runtime.Gosched() // the goroutine stays on its thread
		if now := here(t); now != inside {
			t.Errorf("it was in %s, then in %s", inside, now)
		}
		return own
	})
	if err != own {
		t.Errorf("the error is %v, want that of the function", err)
	}
	if bound := numberOf(t, path); inside != bound || inside == home {
		t.Errorf("it ran in %s, want %s", inside, bound)
	}
	wantHome(t, home)
}

// Nested calls, as a caller may be in another namespace already.
func TestDoWithin(t *testing.T) {
	lab.NeedRoot(t)
	home := here(t)
	path := made(t)
	err := namespace.DoNew(func() error {
		outer := here(t)
		if err := namespace.DoAt(path, func() error { return nil }); err != nil {
			return err
		}
		if now := here(t); now != outer {
			t.Errorf("the caller was in %s, is in %s", outer, now)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	wantHome(t, home)
}

func TestDoNewIsEmpty(t *testing.T) {
	lab.NeedRoot(t)
	home := here(t)
	var links string
	err := namespace.DoNew(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		links = string(text)
		if here(t) == home {
			t.Error("it ran at home")
		}
		return err
	})
	if err != nil || strings.Count(links, ":") != 1 {
		t.Errorf("%v; the interfaces are\n%s", err, links)
	}
	wantHome(t, home)
}

// However a function ends, its thread comes back.
func TestComesBack(t *testing.T) {
	lab.NeedRoot(t)
	home := here(t)
	path := made(t)
	entries := map[string]func(func() error) error{
		"into one that is there": func(f func() error) error { return namespace.DoAt(path, f) },
		"into a new one":         namespace.DoNew,
		"apart":                  func(f func() error) error { return namespace.Apart(unix.CLONE_NEWNET, f) },
	}
	for name, enter := range entries {
		t.Run(name, func(t *testing.T) {
			t.Run("after a panic", func(t *testing.T) {
				defer func() {
					if p, _ := recover().(string); !strings.Contains(p, "oh no") || !strings.Contains(p, "TestComesBack") {
						t.Errorf("the caller's panic is %q, want that of the function, and where it was", p)
					}
					wantHome(t, home)
				}()
				t.Error("no panic, but", enter(func() error { panic("oh no") }))
			})
			t.Run("after Goexit", func(t *testing.T) {
				ended := make(chan bool, 1)
				go func() {
					returned := false
					defer func() { ended <- !returned }()
					_ = enter(func() error { runtime.Goexit(); return nil })
					returned = true
				}()
				if !<-ended {
					t.Error("the caller goes on after its function ended the goroutine")
				}
				wantHome(t, home)
			})
			t.Run("after an error", func(t *testing.T) {
				if err := enter(func() error { return syscall.ENOTTY }); err != syscall.ENOTTY {
					t.Errorf("the error is %v", err)
				}
				wantHome(t, home)
			})
		})
	}
	t.Run("into none", func(t *testing.T) {
		ran := func() error { t.Error("it ran all the same"); return nil }
		if err := namespace.DoAt("/proc/self/fd/9999", ran); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("one that does not exist: %v", err)
		}
		if err := namespace.DoAt("/dev/null", ran); !errors.Is(err, unix.EINVAL) {
			t.Errorf("something else: %v", err)
		}
		wantHome(t, home)
	})
}

// The first thread of the process is free here, so that some of many calls get
// it. It cannot end, and must be where it was.
func TestFirstThread(t *testing.T) {
	lab.NeedRoot(t)
	home := here(t)
	path := made(t)
	done := make(chan error)
	for i := range 100 {
		go func() {
			if i%2 == 0 {
				done <- namespace.Apart(unix.CLONE_NEWNET|unix.CLONE_NEWNS, func() error {
					if unix.Gettid() == os.Getpid() {
						return errors.New("the first thread is to be thrown away")
					}
					return nil
				})
				return
			}
			done <- namespace.DoAt(path, func() error { return nil })
		}()
	}
	for range 100 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	wantHome(t, home)
}
