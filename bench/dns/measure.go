package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
)

// server is a DNS server under measurement.
type server struct {
	name, port string
	pid        int
}

func (s *server) start(cmd *exec.Cmd) error {
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", s.name, err)
	}
	s.pid = cmd.Process.Pid
	return nil
}

// figures of one measurement; times in microseconds.
type figures struct {
	perSecond, perCPU float64
	p50, p99          float64
}

// measure asks first as much as the server answers, then at a fixed rate.
func (s *server) measure(ctx context.Context, l *lab.Lab, questions string, length time.Duration, rate int) (f figures, err error) {
	before, err := cpuOf(s.pid)
	if err != nil {
		return f, err
	}
	out, err := s.ask(ctx, l, questions, length)
	if err != nil {
		return f, err
	}
	after, err := cpuOf(s.pid)
	if err != nil {
		return f, err
	}
	completed, err := figure(out, "Queries completed:")
	if err != nil {
		return f, err
	}
	if f.perSecond, err = figure(out, "Queries per second:"); err != nil {
		return f, err
	}
	f.perCPU = completed / (after - before).Seconds()
	if out, err = s.ask(ctx, l, questions, length, "-v", "-Q", strconv.Itoa(rate)); err != nil {
		return f, err
	}
	latencies := latenciesIn(out)
	if len(latencies) == 0 {
		return f, fmt.Errorf("dnsperf reported no answer:\n%s", out)
	}
	f.p50, f.p99 = latencies[len(latencies)/2], latencies[len(latencies)*99/100]
	return f, nil
}

// ask runs dnsperf as twenty clients, with EDNS as C libraries do today.
func (s *server) ask(ctx context.Context, l *lab.Lab, questions string, length time.Duration, more ...string) ([]byte, error) {
	args := append([]string{"-s", lab.ServerAddr, "-p", s.port, "-a", lab.InternetAddr, "-d", questions,
		"-l", strconv.FormatFloat(length.Seconds(), 'f', -1, 64), "-c", "20", "-T", "1", "-e"}, more...)
	out, err := l.Internet().Command(ctx, "dnsperf", args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("cannot run dnsperf (Debian: apt-get install dnsperf): %w\n%s", err, out)
	}
	return out, nil
}

// await waits until the server accepts connections.
func (s *server) await(ctx context.Context, l *lab.Lab) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := l.Internet().Dial(ctx, "tcp", net.JoinHostPort(lab.ServerAddr, s.port))
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not come up: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// figure finds a number behind a label of dnsperf's report.
func figure(out []byte, label string) (float64, error) {
	for line := range strings.Lines(string(out)) {
		if _, rest, found := strings.Cut(line, label); found {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, fmt.Errorf("dnsperf's report has no line %q:\n%s", label, out)
}

// latenciesIn reads the lines of single answers, such as
// "> NOERROR api.app-1.internal A 0.000123"; sorted.
func latenciesIn(out []byte) []float64 {
	var all []float64
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 5 || fields[0] != ">" {
			continue
		}
		if seconds, err := strconv.ParseFloat(fields[4], 64); err == nil {
			all = append(all, seconds*1e6)
		}
	}
	slices.Sort(all)
	return all
}

// cpuOf is the time a process has had so far, of user and system.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("the server has ended: %w", err)
	}
	// Behind the name in parentheses, which may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("cannot read the times of process %d", pid)
	}
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("cannot read the times of process %d: %w", pid, err)
		}
		ticks += n
	}
	const ticksPerSecond = 100 // of this file, on every Linux
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}
