package privnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	inside = "ATOLL_PRIVNET_TEST_INSIDE" // set in the process that has namespaces of its own
	helper = "ATOLL_PRIVNET_TEST_HELPER" // names what a child process does instead of testing
)

// TestMain runs the tests in a network and a mount namespace of their own, with
// no link to the machine's. Whatever a test makes ends with the process, also
// when it is killed.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(helper) != "":
		os.Exit(helperMain(os.Getenv(helper)))
	case os.Geteuid() != 0:
		os.Exit(m.Run()) // those that need root skip themselves
	case os.Getenv(inside) == "":
		os.Exit(again())
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot prepare the outer namespace:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// again runs this test binary once more, in new namespaces.
func again() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:    unix.SIGKILL,
	}
	signal.Ignore(os.Interrupt, unix.SIGQUIT) // the child gets them too, and says what it was doing
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot run the tests in namespaces of their own:", err)
		return 1
	}
	return 0
}
