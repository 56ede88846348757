// Command privnet measures the private network between two containers of one
// machine, in alternating pairs:
//
//   - peers: round trip, small UDP packets and CPU per packet against a plain
//     Linux bridge, a Docker-like bridge (br_netfilter, conntrack, rules) and a
//     raw veth pair;
//   - policies: the same with an enforced policy of 100 rules and with flows
//     alone, against the switch without either;
//   - members: the same in a network of 1000 members against one of 10;
//   - endpoints: adding and removing one, against a bridge and veth with the
//     netlink calls that Docker makes.
//
// It runs itself again in network and mount namespaces of its own, so nothing
// it makes is seen outside or outlives it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/bench/ratio"
)

const insideEnv = "ATOLL_BENCH_INSIDE"

// suite is one set of comparisons; it makes what it needs below dir.
type suite struct {
	name string
	run  func(dir string, rounds int, length time.Duration) ([]*ratio.Series, error)
	what string
}

var suites = []suite{
	{"peers", peers, "container to container: Atoll / peer"},
	{"policies", policies, "what policies and flows cost: with / without them"},
	{"members", members, "what members cost: a network of 1000 / of 10"},
	{"endpoints", endpoints, "adding and removing an endpoint: Atoll / peer"},
}

func main() {
	rounds := flag.Int("rounds", 9, "pairs per comparison")
	length := flag.Duration("length", 400*time.Millisecond, "length of one measurement")
	only := flag.String("only", "", "run only these, with commas: peers, policies, members, endpoints")
	flag.Parse()
	if err := run(*rounds, *length, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench/privnet:", err)
		os.Exit(1)
	}
}

func run(rounds int, length time.Duration, only string) error {
	if os.Geteuid() != 0 {
		return errors.New("run this as root: it makes network namespaces and loads eBPF")
	}
	wanted, err := selected(only)
	if err != nil {
		return err
	}
	if os.Getenv(insideEnv) == "" {
		return enter()
	}
	dir, err := scratch()
	if err != nil {
		return err
	}
	for _, s := range wanted {
		table, err := s.run(dir, rounds, length)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		ratio.Print(os.Stdout, fmt.Sprintf("Private network on one machine (%d CPUs), %s", runtime.NumCPU(), s.what), table)
	}
	return nil
}

func selected(only string) ([]suite, error) {
	if only == "" {
		return suites, nil
	}
	var wanted []suite
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no suite %q: use peers, policies, members or endpoints", name)
		}
		wanted = append(wanted, suites[i])
	}
	return wanted, nil
}

// scratch makes a folder that is seen in this mount namespace only and ends
// with it.
func scratch() (string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("cannot make the mounts private: %w", err)
	}
	dir := os.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700"); err != nil {
		return "", fmt.Errorf("cannot mount a scratch folder: %w", err)
	}
	return dir, nil
}

// against compares a path with others, by all figures.
func against(ours path, peers []path, rounds int, length time.Duration) ([]*ratio.Series, error) {
	var table []*ratio.Series
	for _, peer := range peers {
		rtt := ratio.New("TCP round trip, 1 byte, p50", peer.name, "lower", "us")
		rttCPU := ratio.New("CPU per round trip", peer.name, "lower", "us")
		udp := ratio.New("UDP 64 B, packets received/s", peer.name, "higher", "1/s")
		udpCPU := ratio.New("CPU per UDP packet", peer.name, "lower", "us")
		for round := range rounds {
			a, b, err := pair(round, func() (figures, error) { return measure(ours, length) },
				func() (figures, error) { return measure(peer, length) })
			if err != nil {
				return nil, fmt.Errorf("%s and %s: %w", ours.name, peer.name, err)
			}
			rtt.Add(a.rtt, b.rtt)
			rttCPU.Add(a.rttCPU, b.rttCPU)
			udp.Add(a.udp, b.udp)
			udpCPU.Add(a.udpCPU, b.udpCPU)
		}
		table = append(table, rtt, rttCPU, udp, udpCPU)
	}
	return table, nil
}

// pair measures two things next to each other, the first one first in every
// second round.
func pair[T any](round int, first, second func() (T, error)) (a, b T, err error) {
	if round%2 == 0 {
		if a, err = first(); err == nil {
			b, err = second()
		}
		return a, b, err
	}
	if b, err = second(); err == nil {
		a, err = first()
	}
	return a, b, err
}

// enter runs this program again in namespaces of its own.
func enter() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	return cmd.Run()
}
