package rig

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/atollhq/atoll/internal/lab"
)

// parallel is how many tests run beside each other, unless -parallel says it:
// they mostly wait, for a deadline or a drain.
const parallel = "8"

// Options are what a suite wants of its machine.
type Options struct {
	// ServerArgs are further arguments of `atoll server`, at every start.
	ServerArgs []string
	// ServerEnv are further variables of its environment, "NAME=VALUE".
	ServerEnv []string
}

// Main runs a suite's tests, removes the machine and exits: each suite's
// TestMain calls it and does nothing else.
func Main(m *testing.M, options Options) {
	flag.Parse()
	the.options = options
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", parallel); err != nil {
			panic(err)
		}
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		fmt.Fprintln(os.Stderr, "e2e: interrupted; removing everything")
		finish(0)
		os.Exit(130)
	}()
	os.Exit(finish(m.Run()))
}

// the is the machine of this run, made by the first test that needs it.
var the struct {
	sync.Mutex
	options Options
	machine *Machine
	err     error
	over    bool
}

// Use returns the machine. Without root it skips the test.
func Use(t *testing.T) *Machine {
	t.Helper()
	lab.NeedRoot(t)
	the.Lock()
	defer the.Unlock()
	if the.over {
		t.Fatal("the run was interrupted")
	}
	if the.machine == nil && the.err == nil {
		the.machine, the.err = newMachine(the.options)
	}
	if the.err != nil {
		t.Fatalf("there is no machine to test on: %v", the.err)
	}
	return the.machine
}

// finish removes the machine, after a last look at it, and returns the exit
// code of the run.
func finish(code int) int {
	the.Lock()
	defer the.Unlock()
	the.over = true
	m := the.machine
	if m == nil {
		return code
	}
	the.machine = nil
	if leaked := m.LeakedQuestions(); len(leaked) > 0 {
		fmt.Fprintf(os.Stderr, "e2e: private names were asked of the upstream resolver: %s\n", strings.Join(leaked, " "))
		code = max(code, 1)
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "e2e: the end of the server's log:\n%s\n", m.ServerLog(80))
	}
	if err := m.close(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: cannot remove everything: %v\n", err)
		code = max(code, 1)
	}
	return code
}
