package e2e

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

func TestMain(m *testing.M) {
	flag.Parse()
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
	machine *machine
	err     error
	over    bool
}

// use returns the machine. Without root it skips the test.
func use(t *testing.T) *machine {
	t.Helper()
	lab.NeedRoot(t)
	the.Lock()
	defer the.Unlock()
	if the.over {
		t.Fatal("the run was interrupted")
	}
	if the.machine == nil && the.err == nil {
		the.machine, the.err = newMachine()
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
	if leaked := m.leakedQuestions(); len(leaked) > 0 {
		fmt.Fprintf(os.Stderr, "e2e: private names were asked of the upstream resolver: %s\n", strings.Join(leaked, " "))
		code = max(code, 1)
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "e2e: the end of the server's log:\n%s\n", m.serverLog(80))
	}
	if err := m.close(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: cannot remove everything: %v\n", err)
		code = max(code, 1)
	}
	return code
}
