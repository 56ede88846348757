// Command privnet measures the private network between two containers of one
// machine against a plain Linux bridge, a Docker-like bridge (br_netfilter,
// conntrack, rules) and a raw veth pair: round trip, small UDP packets, and
// CPU per packet, in alternating pairs.
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
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/bench/ratio"
)

const insideEnv = "ATOLL_BENCH_INSIDE"

func main() {
	rounds := flag.Int("rounds", 9, "pairs per comparison")
	length := flag.Duration("length", 400*time.Millisecond, "length of one measurement")
	flag.Parse()
	if err := run(*rounds, *length); err != nil {
		fmt.Fprintln(os.Stderr, "bench/privnet:", err)
		os.Exit(1)
	}
}

func run(rounds int, length time.Duration) error {
	if os.Geteuid() != 0 {
		return errors.New("run this as root: it makes network namespaces and loads eBPF")
	}
	if os.Getenv(insideEnv) == "" {
		return enter()
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make the mounts private: %w", err)
	}
	paths, err := build()
	if err != nil {
		return err
	}
	ours, peers := paths[0], paths[1:]
	var table []*ratio.Series
	for _, peer := range peers {
		rtt := ratio.New("TCP round trip, 1 byte, p50", peer.name, "lower", "us")
		rttCPU := ratio.New("CPU per round trip", peer.name, "lower", "us")
		udp := ratio.New("UDP 64 B, packets received/s", peer.name, "higher", "1/s")
		udpCPU := ratio.New("CPU per UDP packet", peer.name, "lower", "us")
		for round := range rounds {
			pair := []path{ours, peer}
			if round%2 == 1 {
				pair[0], pair[1] = pair[1], pair[0]
			}
			got := map[string]figures{}
			for _, p := range pair {
				f, err := measure(p, length)
				if err != nil {
					return fmt.Errorf("%s: %w", p.name, err)
				}
				got[p.name] = f
			}
			a, b := got[ours.name], got[peer.name]
			rtt.Add(a.rtt, b.rtt)
			rttCPU.Add(a.rttCPU, b.rttCPU)
			udp.Add(a.udp, b.udp)
			udpCPU.Add(a.udpCPU, b.udpCPU)
		}
		table = append(table, rtt, rttCPU, udp, udpCPU)
	}
	ratio.Print(os.Stdout, fmt.Sprintf("Private network, container to container on one machine (%d CPUs): Atoll / peer", runtime.NumCPU()), table)
	return nil
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
