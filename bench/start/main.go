// Command start measures how long it takes from asking for a container until
// its process runs, both interfaces included, against `runc run -d` of the
// same image on an overlay; one at a time and a hundred at once.
//
// It runs in a laboratory: nothing touches the machine's own network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/atollhq/atoll/bench/ratio"
	"github.com/atollhq/atoll/internal/lab"
)

const insideEnv = "ATOLL_BENCH_LAB"

func main() {
	rounds := flag.Int("rounds", 9, "pairs, one container at a time")
	crowd := flag.Int("crowd", 100, "containers at once")
	crowds := flag.Int("crowds", 2, "pairs, all at once")
	stack := flag.String("stack", stackDir(), "folder of the stack image")
	flag.Parse()
	run := outer
	if os.Getenv(insideEnv) != "" {
		run = func() error { return inner(*rounds, *crowd, *crowds, *stack) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/start:", err)
		os.Exit(1)
	}
}

func stackDir() string {
	if dir := os.Getenv("STACK_DIR"); dir != "" {
		return dir
	}
	return "/var/lib/atoll-cache/stack"
}

// workDir is not in the lab's own folder, which may be in memory. There is one
// lab of the name at a time, and so one user of it.
const workDir = "/var/tmp/atoll-bench-start"

// outer makes the laboratory and runs this program again in its server. It
// cleans up also when it is interrupted, and first what a killed run left.
func outer() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := lab.New("bench-start", lab.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close(), lab.RemoveFolder(workDir)) }()
	if err := lab.RemoveFolder(workDir); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := l.Server().Command(ctx, self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"="+l.Name())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func inner(rounds, crowd, crowds int, stack string) (err error) {
	l, err := lab.Open(os.Getenv(insideEnv))
	if err != nil {
		return err
	}
	ctx, dir := context.Background(), workDir
	ours, err := openAtoll(ctx, l, filepath.Join(dir, "atoll"), stack)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.close(ctx)) }()
	theirs, err := openRunc(l, filepath.Join(dir, "runc"), stack)
	if err != nil {
		return err
	}
	single, err := compare(ctx, ours, theirs, rounds, 1)
	if err != nil {
		return err
	}
	many, err := compare(ctx, ours, theirs, crowds, crowd)
	if err != nil {
		return err
	}
	ratio.Print(os.Stdout, "Create to running: Atoll (image snapshot, log writer, eth0, pn0, firewall, containerd) / bare runc (no network, no log)", []*ratio.Series{single, many})
	return nil
}

// starter starts n containers and returns how long it took until all ran,
// without the time to remove them again.
type starter interface {
	start(ctx context.Context, n int) (time.Duration, error)
}

func compare(ctx context.Context, ours, theirs starter, rounds, n int) (*ratio.Series, error) {
	s := ratio.New(fmt.Sprintf("%d container(s), start to running", n), "runc run -d", "lower", "ms")
	for round := range rounds {
		pair := []starter{ours, theirs}
		if round%2 == 1 {
			pair[0], pair[1] = theirs, ours
		}
		took := map[starter]float64{}
		for _, p := range pair {
			d, err := p.start(ctx, n)
			if err != nil {
				return nil, err
			}
			took[p] = float64(d.Microseconds()) / 1000
		}
		s.Add(took[ours], took[theirs])
	}
	return s, nil
}
