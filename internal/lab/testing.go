package lab

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// NeedRoot skips a test that is not run as root.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces and mounts: run the tests as root")
	}
}

var started atomic.Int64

// Start makes a lab for a test, with a name that no other test has, and closes
// it at the end. It skips the test without root.
func Start(t testing.TB, opts Options) *Lab {
	t.Helper()
	NeedRoot(t)
	if opts.Detach {
		t.Fatal("lab.Start closes the lab with the test: use lab.New or lab.Up to detach one")
	}
	l, err := New(testName(t.Name(), os.Getpid(), started.Add(1)), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("cannot close the lab: %v", err)
		}
	})
	return l
}

// testName begins with a little of the test's name, to see what is left over.
func testName(test string, pid int, n int64) string {
	var b strings.Builder
	for _, r := range strings.TrimPrefix(strings.ToLower(test), "test") {
		if (r >= 'a' && r <= 'z' || r >= '0' && r <= '9') && b.Len() < 10 {
			b.WriteRune(r)
		}
	}
	return strings.TrimPrefix(fmt.Sprintf("%s-%d-%d", b.String(), pid, n), "-")
}

// WaitFor waits until cond is true, and fails the test when it is not within
// the limit. An error of cond does not end the waiting; the last one is part of
// the message. what completes "waiting for ...".
func WaitFor(t testing.TB, limit time.Duration, what string, cond func() (bool, error)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		ok, err := cond()
		if ok && err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: not within %v (last error: %v)", what, limit, err)
		}
		time.Sleep(pause)
	}
}
