package rig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/atollhq/atoll/internal/lab"
)

const (
	BaseDomain = "atoll.localhost"
	apiAddr    = lab.ServerAddr + ":7000"
	APIURL     = "http://" + apiAddr
)

// Machine is a server, as an operator would run it, and the internet.
type Machine struct {
	options Options
	Lab     *lab.Lab
	bin     string
	stack   string
	data    string
	run     string
	token   string
	Client  *http.Client // a visitor from the internet

	mu     sync.Mutex
	server *os.Process
	exited chan struct{}
}

func newMachine(options Options) (*Machine, error) {
	m := &Machine{options: options, stack: os.Getenv("STACK_DIR")}
	if m.stack == "" {
		m.stack = "/var/lib/atoll-cache/stack"
	}
	var err error
	if m.bin, err = programs(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(m.stack, "atoll-12.oci", "index.json")); err != nil {
		return nil, fmt.Errorf("there is no stack image in %s: run `make stack` first, or set STACK_DIR", m.stack)
	}
	// The lab goes first: it ends what a killed run left.
	if m.Lab, err = lab.New(fmt.Sprintf("e2e-%d", os.Getpid()), lab.Options{Records: []string{"*." + BaseDomain + ". 60 IN A " + lab.ServerAddr}}); err != nil {
		return nil, err
	}
	if err := m.setUp(); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// programs finds the folder of the programs under test.
func programs() (string, error) {
	dir := os.Getenv("ATOLL_BIN")
	if dir == "" {
		dir = filepath.Join(root(), "bin")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("cannot find the programs: %w", err)
	}
	for _, name := range []string{"atoll", "atoll-logger"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("there is no program %s in %s: run `make build` first, or set ATOLL_BIN", name, dir)
		}
	}
	return dir, nil
}

// root is the project's top folder. Tests run in the folder of their suite.
func root() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	panic("the tests do not run within the project's folder")
}

func (m *Machine) setUp() error {
	if err := removeStaleData(); err != nil {
		return fmt.Errorf("cannot remove what an earlier run left: %w", err)
	}
	m.data, m.run = dataOf(m.Lab.Name()), filepath.Join(m.Lab.Dir(), "run")
	if err := os.WriteFile(m.resolvConf(), []byte("nameserver "+lab.InternetAddr+"\n"), 0o644); err != nil {
		return err
	}
	if _, err := m.Init(); err != nil {
		return err
	}
	m.Client = m.Lab.HTTPClient()
	m.Client.Timeout = 20 * time.Second
	return m.Start()
}

// Init makes the database with its first user, whom the client is from now on.
// It returns the token of the user before.
func (m *Machine) Init() (former string, err error) {
	tokenFile := filepath.Join(m.Lab.Dir(), "token")
	if err := os.RemoveAll(tokenFile); err != nil {
		return "", err
	}
	args := []string{"init", "--data-dir", m.data, "--run-dir", m.run, "--username", "ada", "--email", "ada@example.test", "--token-file", tokenFile}
	if out, err := exec.Command(m.Program(), args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("atoll init: %w: %s", err, out)
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return "", err
	}
	former = m.token
	m.SetToken(strings.TrimSpace(string(token)))
	return former, nil
}

// SetToken makes the client a user.
func (m *Machine) SetToken(token string) { m.token = token }

// Program is the path of atoll.
func (m *Machine) Program() string { return filepath.Join(m.bin, "atoll") }

// Start starts the server and waits until its API answers.
func (m *Machine) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	log, err := os.OpenFile(m.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := m.Lab.Server().Command(context.Background(), filepath.Join(m.bin, "atoll"), append([]string{"server"}, m.Settings()...)...)
	cmd.Args = append(cmd.Args, m.options.ServerArgs...)
	cmd.Env = append(cmd.Environ(), m.options.ServerEnv...)
	cmd.Stdout, cmd.Stderr = log, log
	// Of a session of its own: Ctrl-C is for the tests, which then stop it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
	m.server, m.exited = cmd.Process, exited
	return m.awaitAPI(exited)
}

// Settings are the flags of the server.
func (m *Machine) Settings() []string {
	return []string{"--data-dir", m.data, "--run-dir", m.run, "--bpffs", m.Lab.BPFFS(), "--stack-dir", m.stack,
		"--resolv-conf", m.resolvConf(), "--base-domain", BaseDomain, "--cgroup-parent", m.Lab.CgroupParent() + "/atoll",
		"--api-listen", apiAddr, "--node", "e2e"}
}

func (m *Machine) awaitAPI(exited <-chan struct{}) error {
	limit := time.After(2 * time.Minute)
	for {
		resp, err := m.Client.Get(APIURL + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-exited:
			return fmt.Errorf("the server ended at its start:\n%s", m.ServerLog(20))
		case <-limit:
			return fmt.Errorf("the server does not answer (%v):\n%s", err, m.ServerLog(20))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the server as a crash would.
func (m *Machine) Kill() error { return m.End(syscall.SIGKILL) }

// End sends the server a signal and waits for its end.
func (m *Machine) End(sig syscall.Signal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server == nil {
		return nil
	}
	if err := m.server.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.exited:
		m.server = nil
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("the server does not end")
	}
}

// close removes everything. Processes that do not end by themselves are
// killed with the lab.
func (m *Machine) close() error {
	var errs []error
	if m.server != nil {
		errs = append(errs, m.End(syscall.SIGTERM))
	}
	errs = append(errs, m.Lab.Close())
	if m.data != "" {
		errs = append(errs, restoreSettings(m.data), lab.RemoveFolder(m.data))
	}
	return errors.Join(errs...)
}

// dataOf is the data folder of the server in a lab. It is not in the lab's own
// folder, which may be in memory.
func dataOf(lab string) string { return "/var/lib/atoll-" + lab }

// removeStaleData removes the data folders of labs that are not there any more,
// and puts back what their runs set on the machine.
func removeStaleData() error {
	folders, err := filepath.Glob(dataOf("e2e-*"))
	if err != nil {
		return err
	}
	for _, dir := range folders {
		if _, err := os.Stat(filepath.Join("/run/atoll-lab", strings.TrimPrefix(dir, dataOf("")))); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := errors.Join(restoreSettings(dir), lab.RemoveFolder(dir)); err != nil {
			return err
		}
	}
	return nil
}

// PID is the server's process, 0 while there is none.
func (m *Machine) PID() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server == nil {
		return 0
	}
	return m.server.Pid
}

// RunDir is the server's run folder, DataDir its data folder.
func (m *Machine) RunDir() string  { return m.run }
func (m *Machine) DataDir() string { return m.data }

func (m *Machine) resolvConf() string { return filepath.Join(m.Lab.Dir(), "resolv.conf") }
func (m *Machine) logPath() string    { return filepath.Join(m.Lab.Dir(), "server.log") }

// ServerLog is the last n lines that the server wrote.
func (m *Machine) ServerLog(n int) string {
	text, err := os.ReadFile(m.logPath())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// LeakedQuestions are the private names that the upstream resolver was asked.
func (m *Machine) LeakedQuestions() []string {
	questions, err := m.Lab.UpstreamQuestions()
	if err != nil {
		return []string{err.Error()}
	}
	var leaked []string
	for _, q := range questions {
		if name := strings.ToLower(q.Name); name == "internal." || strings.HasSuffix(name, ".internal.") {
			leaked = append(leaked, q.Name)
		}
	}
	return leaked
}
