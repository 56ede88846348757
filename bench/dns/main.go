// Command dns measures our resolver against CoreDNS: the same names from
// memory, the same machine, the same client (dnsperf), in alternating pairs.
//
// Both servers run in a namespace of a lab, each as a process of its own, and
// are asked over a wire. CoreDNS is built from the module in the folder
// coredns, with the plugins it needs for this only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/atollhq/atoll/bench/ratio"
	"github.com/atollhq/atoll/internal/lab"
)

func main() {
	rounds := flag.Int("rounds", 7, "pairs")
	length := flag.Duration("length", 4*time.Second, "length of one measurement")
	rate := flag.Int("rate", 4000, "questions per second while latency is measured")
	serveOn := flag.String("serve", "", "be the server of the comparison on this address and port")
	flag.Parse()
	run := func() error { return compare(*rounds, *length, *rate) }
	if *serveOn != "" {
		run = func() error { return serve(*serveOn) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/dns:", err)
		os.Exit(1)
	}
}

func compare(rounds int, length time.Duration, rate int) (err error) {
	// Interrupted, it goes on to the end: what it made is removed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := lab.New(fmt.Sprintf("bench-dns-%d", os.Getpid()), lab.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	ours, theirs, err := start(ctx, l)
	if err != nil {
		return err
	}
	for _, s := range []*server{ours, theirs} {
		if err := s.await(ctx, l); err != nil {
			return err
		}
	}
	if err := sameAnswers(ctx, l, ours, theirs); err != nil {
		return err
	}
	questions := filepath.Join(l.Dir(), "questions")
	if err := os.WriteFile(questions, []byte(questionLines()), 0o600); err != nil {
		return err
	}
	const peer = "CoreDNS"
	perCPU := ratio.New("answers per CPU second", peer, "higher", "1/s")
	perSecond := ratio.New("answers per second, saturated", peer, "higher", "1/s")
	median := ratio.New(fmt.Sprintf("latency at %d/s, p50", rate), peer, "lower", "us")
	p99 := ratio.New(fmt.Sprintf("latency at %d/s, p99", rate), peer, "lower", "us")
	for round := range rounds {
		pair := []*server{ours, theirs}
		if round%2 == 1 {
			pair[0], pair[1] = pair[1], pair[0]
		}
		got := map[*server]figures{}
		for _, s := range pair {
			if got[s], err = s.measure(ctx, l, questions, length, rate); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		a, b := got[ours], got[theirs]
		perCPU.Add(a.perCPU, b.perCPU)
		perSecond.Add(a.perSecond, b.perSecond)
		median.Add(a.p50, b.p50)
		p99.Add(a.p99, b.p99)
	}
	ratio.Print(os.Stdout, fmt.Sprintf("DNS, %d names of one network from memory (%d CPUs): Atoll / peer", len(hosts()), runtime.NumCPU()), []*ratio.Series{perCPU, perSecond, median, p99})
	return nil
}

// start runs both servers in the lab.
func start(ctx context.Context, l *lab.Lab) (ours, theirs *server, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	coredns, err := buildCoreDNS(l.Dir())
	if err != nil {
		return nil, nil, err
	}
	corefile, err := writeZone(l.Dir())
	if err != nil {
		return nil, nil, err
	}
	ours = &server{name: "Atoll", port: oursPort}
	theirs = &server{name: "CoreDNS", port: theirsPort}
	if err := ours.start(l.Server().Command(ctx, self, "-serve", lab.ServerAddr+":"+oursPort)); err != nil {
		return nil, nil, err
	}
	return ours, theirs, theirs.start(l.Server().Command(ctx, coredns, "-conf", corefile, "-quiet"))
}

func buildCoreDNS(dir string) (program string, err error) {
	list := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/atollhq/atoll/bench/dns")
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("cannot find the folder of CoreDNS (run this inside the repository): %w", err)
	}
	program = filepath.Join(dir, "coredns")
	build := exec.Command("go", "build", "-trimpath", "-o", program, ".")
	build.Dir = filepath.Join(string(out[:len(out)-1]), "coredns")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build CoreDNS: %w\n%s", err, text)
	}
	return program, nil
}
