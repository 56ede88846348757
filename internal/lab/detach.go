package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// startLimit is how long the internet of a detached lab may take to answer.
const startLimit = 30 * time.Second

// Up makes a lab that outlives this process. internet is a command, not
// started, that calls RunInternet with that name; Up starts it in a session of
// its own and returns when it answers. If that fails, nothing is left.
func Up(ctx context.Context, name string, opts Options, internet *exec.Cmd) error {
	opts.Detach = true
	l, err := New(name, opts)
	if err != nil {
		return err
	}
	if err := l.startInternetProcess(ctx, internet); err != nil {
		return errors.Join(fmt.Errorf("cannot start the internet of lab %s: %w", name, err), Remove(name))
	}
	return l.Close()
}

func (l *Lab) startInternetProcess(ctx context.Context, cmd *exec.Cmd) error {
	path := filepath.Join(l.dir, "internet.log")
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	// One that has ended already is not waited for yet, and says why below.
	if err := l.Adopt(cmd.Process.Pid); err != nil && !errors.Is(err, errEnded) {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return l.awaitInternet(ctx, cmd.Process.Pid, ended, path)
}

// awaitInternet waits until the process owns the lab, which it does after it
// listens, and answers.
func (l *Lab) awaitInternet(ctx context.Context, pid int, ended <-chan error, log string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		s, err := readState(l.dir)
		if err == nil && s.Owner.PID == pid {
			return l.askEcho(ctx)
		}
		select {
		case err := <-ended:
			said, _ := os.ReadFile(log)
			return fmt.Errorf("its process ended (%v): %s", err, bytes.TrimSpace(said))
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", ctx.Err())
		case <-poll.C:
		}
	}
}

// askEcho proves from the server that the internet is there.
func (l *Lab) askEcho(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DialContext: l.DialServer, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+EchoAddr+"/", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("its echo answers %s", resp.Status)
	}
	return nil
}
