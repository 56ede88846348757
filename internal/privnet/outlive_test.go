package privnet

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A new program takes the place of the old one under load, and every packet
// that left the sender's interface arrives at the receiver's.
func TestNoPacketIsLostWhileTheProgramIsReplaced(t *testing.T) {
	cfg := newConfig(t)
	s := open(t, cfg)
	a, b := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	b.do(func() error {
		c, err := net.ListenPacket("udp4", "0.0.0.0:7000") // never read: its interface counts
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return err
	})
	var socket net.Conn
	a.do(func() (err error) {
		// A fixed neighbour, so that nothing but the flood is sent.
		link, err := netlink.LinkByName(Interface)
		if err != nil {
			return err
		}
		err = netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
			IP: b.addr.AsSlice(), HardwareAddr: HardwareAddr(b.addr)})
		if err != nil {
			return err
		}
		socket, err = net.Dial("udp4", b.addr.String()+":7000")
		return err
	})
	defer socket.Close()

	sentBefore, receivedBefore, dropsBefore := a.counters().TxPackets, b.heard(), sum(drops(t, s))
	stop := make(chan struct{})
	flood := make(chan error, 1)
	var sent atomic.Uint64
	go func() {
		packet := make([]byte, 64)
		for {
			select {
			case <-stop:
				flood <- nil
				return
			default:
			}
			if _, err := socket.Write(packet); err != nil {
				flood <- err
				return
			}
			sent.Add(1)
		}
	}()
	const replacements = 60
	var last *Switch
	for range replacements {
		next, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if last != nil {
			if last.id == next.id {
				t.Fatal("the program was not replaced")
			}
			last.Close()
		}
		last = next
	}
	close(stop)
	if err := <-flood; err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	for _, p := range list(t, last) {
		if !p.Program {
			t.Errorf("%s does not run the last program", p.ID)
		}
	}

	left := a.counters().TxPackets - sentBefore
	until(t, "the last packets to arrive", func() bool { return b.heard()-receivedBefore >= left })
	if got := b.heard() - receivedBefore; got != left {
		t.Errorf("%d packets left, %d arrived", left, got)
	}
	if got := sum(drops(t, s)) - dropsBefore; got != 0 {
		t.Errorf("%d packets were dropped by the switch", got)
	}
	if left < 1000 {
		t.Errorf("only %d packets in %d replacements: that proves nothing", left, replacements)
	}
	t.Logf("%d packets through %d replacements (%d written)", left, replacements, sent.Load())
}

// The process that made the network is killed; traffic goes on, and the next
// one takes over what is there.
func TestNetworkOutlivesTheProcess(t *testing.T) {
	cfg := newConfig(t)
	a, b, stray := newBox(t), newBox(t), newBox(t)
	a.addr, b.addr, stray.addr = FirstAddr, FirstAddr.Next(), LastAddr
	owner := startHelper(t, helperJob{Task: "hold", Config: cfg,
		Endpoints: []Endpoint{a.endpoint(1), b.endpoint(1), stray.endpoint(1)}})

	// Pings without a break, from before the kill to after the takeover.
	var pings atomic.Uint64
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := a.ping(b.addr, 8, patience); err != nil {
				done <- err
				return
			}
			pings.Add(1)
		}
	}()
	more := func(why string) {
		goal := pings.Load() + 20
		until(t, "pings "+why, func() bool { return pings.Load() >= goal })
	}
	more("before the kill")
	kill(t, owner)
	more("with nobody there")

	s := open(t, cfg)
	more("after the takeover")
	report := set(t, s, a.endpoint(1), b.endpoint(1))
	if len(report.Removed) != 1 || report.Removed[0] != stray.endpoint(1).ID || len(report.Attached)+len(report.Repaired)+report.Entries != 0 {
		t.Errorf("after the takeover Set did %+v, want only the stray removed", report)
	}
	more("after the reconciliation")
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("after %d pings: %v", pings.Load(), err)
	}
}

// Killed at any moment of attaching and detaching, the next start finds its
// way: what should be there works, what should not is gone.
func TestKilledInTheMiddle(t *testing.T) {
	cfg := newConfig(t)
	a, b, churn := newBox(t), newBox(t), newBox(t)
	a.addr, b.addr, churn.addr = FirstAddr, FirstAddr.Next(), LastAddr
	for round := range 12 {
		owner := startHelper(t, helperJob{Task: "churn", Config: cfg,
			Endpoints: []Endpoint{a.endpoint(1), b.endpoint(1), churn.endpoint(1)}})
		// Not synchronisation: a moment, another one in each round.
		time.Sleep(time.Duration(round) * 1700 * time.Microsecond)
		kill(t, owner)

		s, err := Open(cfg)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		set(t, s, a.endpoint(1), b.endpoint(1))
		if err := a.ping(b.addr, 8, patience); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		ports := list(t, s)
		if len(ports) != 2 || !ports[0].Member || !ports[1].Member {
			t.Errorf("round %d: the kernel holds %+v", round, ports)
		}
		if again := set(t, s, a.endpoint(1), b.endpoint(1)); again.Changed() {
			t.Errorf("round %d: a second Set did %+v", round, again)
		}
		s.Close()
	}
}

// Many at once, as when a project starts.
func TestAttachInParallel(t *testing.T) {
	s := open(t, newConfig(t))
	const n = 24
	boxes := make([]*box, n)
	addr := FirstAddr
	for i := range boxes {
		boxes[i] = newBox(t)
		boxes[i].addr, addr = addr, addr.Next()
	}
	all := func(f func(Endpoint) error) {
		t.Helper()
		errs := make(chan error, n)
		for _, b := range boxes {
			go func() { errs <- f(b.endpoint(1)) }()
		}
		for range boxes {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
	ctx := context.Background()
	all(func(e Endpoint) error { return s.Attach(ctx, e) })
	for _, b := range boxes[1:] {
		if err := boxes[0].ping(b.addr, 8, patience); err != nil {
			t.Fatalf("%s: %v", b.addr, err)
		}
	}
	if got := list(t, s); len(got) != n {
		t.Errorf("%d ports, want %d", len(got), n)
	}
	all(func(e Endpoint) error { return s.Detach(ctx, e.ID) })
	if got := list(t, s); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}

	// Of many that want one address, one gets it.
	errs := make(chan error, n)
	for _, b := range boxes {
		e := b.endpoint(1)
		e.Addr = LastAddr
		go func() { errs <- s.Attach(ctx, e) }()
	}
	won := 0
	for range boxes {
		if <-errs == nil {
			won++
		}
	}
	if got := list(t, s); won != 1 || len(got) != 1 || !got[0].Member {
		t.Errorf("%d got the address; the kernel holds %+v", won, got)
	}
}

// helperJob is what a child process is told to do.
type helperJob struct {
	Task      string // hold: attach and wait; churn: attach and detach the last one for ever
	Config    Config
	Endpoints []Endpoint
	Policies  []Policy
}

// startHelper starts a child that owns the switch and waits until its
// endpoints are attached.
func startHelper(t *testing.T, job helperJob) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helper+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // unless the test has killed it
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the helper said %q, %v", line, err)
	}
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the helper ended by itself")
	}
}

func helperMain(text string) int {
	var job helperJob
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.run()
	}
	fmt.Fprintln(os.Stderr, "helper:", err)
	return 1
}

func (j helperJob) run() error {
	ctx := context.Background()
	s, err := Open(j.Config)
	if err != nil {
		return err
	}
	if _, err := s.Set(ctx, j.Endpoints); err != nil {
		return err
	}
	if err := s.SetPolicies(ctx, j.Policies); err != nil {
		return err
	}
	fmt.Println("ready")
	for j.Task == "hold" {
		time.Sleep(time.Hour)
	}
	last := j.Endpoints[len(j.Endpoints)-1]
	for {
		if err := s.Detach(ctx, last.ID); err != nil {
			return err
		}
		if err := s.Attach(ctx, last); err != nil {
			return err
		}
	}
}
