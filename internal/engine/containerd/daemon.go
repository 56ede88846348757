package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/statefile"
)

// Daemon is a containerd of our own. It is a process in a session of its
// own and outlives the one that started it; the next one finds it by its pid
// file and goes on using it.
type Daemon struct {
	// Binary is the path of containerd; "" looks it up.
	Binary string
	// DataDir holds images and snapshots and must be on a disk whose file
	// system overlayfs can use; RunDir holds sockets and the pid file.
	DataDir string
	RunDir  string
	Log     *slog.Logger
}

// How long a daemon has to answer after its start, and to end after SIGTERM.
const (
	daemonStartTime = 20 * time.Second
	daemonStopTime  = 10 * time.Second
)

// Address is the path of its socket.
func (d Daemon) Address() string { return filepath.Join(d.RunDir, "containerd.sock") }

// Ensure returns when the daemon answers; it starts it when it does not run,
// and replaces one that runs and does not answer. Containers are not touched
// by either.
func (d Daemon) Ensure(ctx context.Context) error {
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if p, ok := d.running(); ok {
		if err = d.awaitAnswer(ctx, p); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d.Log.Warn("containerd runs and does not answer; replacing it", "pid", p.PID, "error", err)
		if err := p.end(syscall.SIGKILL, daemonStopTime); err != nil {
			return err
		}
	}
	p, err := d.start()
	if err != nil {
		return err
	}
	if err := d.awaitAnswer(ctx, p); err != nil {
		return fmt.Errorf("containerd was started and does not answer, its log is %s: %w", d.logPath(), err)
	}
	d.Log.Info("containerd started", "pid", p.PID, "socket", d.Address())
	return nil
}

// Stop ends the daemon. Containers go on; they need it again to be stopped.
func (d Daemon) Stop() error {
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	p, ok := d.running()
	if !ok {
		return nil
	}
	if err := p.end(syscall.SIGTERM, daemonStopTime); err == nil {
		return nil
	}
	return p.end(syscall.SIGKILL, daemonStopTime)
}

// PID returns the process id of the daemon, 0 when it does not run.
func (d Daemon) PID() int {
	p, _ := d.running()
	return p.PID
}

// Private

func (d Daemon) pidPath() string { return filepath.Join(d.RunDir, "containerd.pid") }
func (d Daemon) logPath() string { return filepath.Join(d.DataDir, "containerd.log") }

func (d Daemon) lock() (unlock func(), err error) {
	for _, dir := range []string{d.DataDir, d.RunDir} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("cannot make the folder of containerd: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(d.RunDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock containerd's folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock containerd's folder: %w", err)
	}
	return func() { f.Close() }, nil
}

func (d Daemon) start() (process, error) {
	binary, err := d.find()
	if err != nil {
		return process{}, err
	}
	config := filepath.Join(d.RunDir, "config.toml")
	if err := os.WriteFile(config, []byte(d.config()), 0o600); err != nil {
		return process{}, fmt.Errorf("cannot write containerd's configuration: %w", err)
	}
	logs, err := openDaemonLog(d.logPath())
	if err != nil {
		return process{}, err
	}
	defer logs.Close()
	cmd := exec.Command(binary, "--config", config)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PATH="+systemPath())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return process{}, fmt.Errorf("cannot start containerd: %w", err)
	}
	go func() { _ = cmd.Wait() }() // reaps it should it die before us
	p, err := newProcess(cmd.Process.Pid)
	if err != nil {
		return p, fmt.Errorf("containerd ended at once, its log is %s: %w", d.logPath(), err)
	}
	return p, p.save(d.pidPath())
}

// find locates containerd and checks for what it starts itself, because its
// own error for a missing shim only comes with the first container.
func (d Daemon) find() (string, error) {
	path := systemPath()
	look := func(name string) string {
		for _, dir := range strings.Split(path, ":") {
			full := filepath.Join(dir, name)
			if info, err := os.Stat(full); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return full
			}
		}
		return ""
	}
	for _, name := range []string{"containerd-shim-runc-v2", "runc"} {
		if look(name) == "" {
			return "", fmt.Errorf("%s is not installed; install the packages containerd and runc", name)
		}
	}
	if d.Binary != "" {
		return d.Binary, nil
	}
	binary := look("containerd")
	if binary == "" {
		return "", errors.New("containerd is not installed; install the packages containerd and runc")
	}
	return binary, nil
}

// systemPath is PATH with the folders of system programs, where runc is.
func systemPath() string {
	path := os.Getenv("PATH")
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if !strings.Contains(":"+path+":", ":"+dir+":") {
			path = strings.TrimPrefix(path+":"+dir, ":")
		}
	}
	return path
}

// config is read by containerd 1.6 and, converted, by 2.x. oom_score 0
// because lowering it is forbidden where CAP_SYS_RESOURCE is missing. The
// disabled plugins listen on sockets, make folders outside of ours, or
// complain about file systems that we do not use.
func (d Daemon) config() string {
	disabled := []string{
		"io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
		"io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart",
		"io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
		"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
		"io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs",
	}
	for i, name := range disabled {
		disabled[i] = strconv.Quote(name)
	}
	return fmt.Sprintf(`# Written at every start.
version = 2
root = %q
state = %q
oom_score = 0
disabled_plugins = [%s]

[grpc]
address = %q

[ttrpc]
address = %q
`, filepath.Join(d.DataDir, "root"), filepath.Join(d.RunDir, "state"), strings.Join(disabled, ", "),
		d.Address(), d.Address()+".ttrpc")
}

// openDaemonLog opens the log for appending, and starts a new one when it
// has grown: it is for looking at failed starts, not an archive.
func openDaemonLog(path string) (*os.File, error) {
	const limit = 16 << 20
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > limit {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open containerd's log: %w", err)
	}
	return f, nil
}

func (d Daemon) running() (process, bool) {
	p, err := loadProcess(d.pidPath())
	if err != nil || !p.alive() {
		return process{}, false
	}
	return p, true
}

// awaitAnswer waits until the socket takes connections: containerd opens it
// after it found all containers again.
func (d Daemon) awaitAnswer(ctx context.Context, p process) error {
	deadline := time.Now().Add(daemonStartTime)
	for {
		conn, err := net.DialTimeout("unix", d.Address(), time.Second)
		if err == nil {
			return conn.Close()
		}
		if !p.alive() {
			return errors.New("it ended")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer within %v: %w", daemonStartTime, err)
		}
		if !pause(ctx, 5*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// pause waits for d and reports whether ctx still holds.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// process names a process for good: a pid alone may be another one later.
type process struct {
	PID int `json:"pid"`
	// Start is the start time in clock ticks since boot (proc(5), stat
	// field 22), Boot the kernel's id of this boot.
	Start uint64 `json:"start"`
	Boot  string `json:"boot"`
}

func newProcess(pid int) (process, error) {
	start, ok := startTime(pid)
	if !ok {
		return process{}, fmt.Errorf("there is no process %d", pid)
	}
	return process{PID: pid, Start: start, Boot: bootID()}, nil
}

func loadProcess(path string) (process, error) {
	var p process
	text, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(text, &p)
}

func (p process) save(path string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := statefile.Replace(path, text, 0o600); err != nil {
		return fmt.Errorf("cannot write the pid file: %w", err)
	}
	return nil
}

func (p process) alive() bool {
	if p.PID <= 0 || p.Boot != bootID() {
		return false
	}
	start, ok := startTime(p.PID)
	return ok && start == p.Start
}

// end sends a signal and waits until the process is gone.
func (p process) end(sig syscall.Signal, within time.Duration) error {
	deadline := time.Now().Add(within)
	for p.alive() {
		if sig != 0 {
			if err := syscall.Kill(p.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("cannot end containerd (pid %d): %w", p.PID, err)
			}
			sig = 0
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("containerd (pid %d) did not end within %v", p.PID, within)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// startTime reads when a process started. A zombie counts as gone: it is
// dead and waits for its parent.
func startTime(pid int) (uint64, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// The name in parentheses may hold anything; fields count behind it.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return start, err == nil
}

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
