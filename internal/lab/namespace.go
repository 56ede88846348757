package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is one network namespace of a lab.
type Namespace struct {
	name string
	path string
	zone *zone
}

// Name is "server" or "internet".
func (n Namespace) Name() string { return n.name }

// Path is where the namespace is bound, for setns and nsenter --net=.
func (n Namespace) Path() string { return n.path }

// Do runs f on a thread in the namespace and returns its error. Goroutines
// that f starts are outside; so are name look-ups and other work that the
// standard library does in goroutines. A panic of f is passed on, and f may
// end its test (t.Fatal).
func Do(n Namespace, f func() error) error {
	result := make(chan outcome, 1)
	go func() {
		// What is sent if f ends the goroutine instead of returning.
		out := outcome{exited: true}
		defer func() { result <- out }()
		out = n.run(f)
	}()
	out := <-result
	switch {
	case out.panicked != nil:
		panic(fmt.Sprintf("in network namespace %s: %v\n%s", n.path, out.panicked, out.stack))
	case out.exited:
		runtime.Goexit()
	}
	return out.err
}

type outcome struct {
	err      error
	exited   bool
	panicked any
	stack    []byte
}

func (n Namespace) run(f func() error) (out outcome) {
	target, err := netns.GetFromPath(n.path)
	if err != nil {
		out.err = fmt.Errorf("cannot open network namespace %s (is the lab closed?): %w", n.path, err)
		return out
	}
	defer target.Close()

	back, err := leave(func() error { return netns.Set(target) })
	if err != nil {
		out.err = fmt.Errorf("cannot enter network namespace %s: %w", n.path, err)
		return out
	}
	defer back()
	defer func() {
		if out.panicked = recover(); out.panicked != nil {
			out.stack = debug.Stack()
		}
	}()
	out.err = f()
	return out
}

// leave locks the goroutine to its thread and takes the thread to another
// namespace; back undoes both. A thread that cannot return stays locked and
// ends with the goroutine. (Leaving that to happen always would not do: the
// first thread of a process never ends, and would stay in the namespace.)
func leave(enter func() error) (back func(), err error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("cannot find the network namespace to return to: %w", err)
	}
	if err := enter(); err != nil {
		home.Close()
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
	}, nil
}

// Command prepares a program that runs in the namespace and sees the machine's
// mounts and control groups. Its process id is that of the program.
func (n Namespace) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + n.path, "--", name}, args...)...)
}

// Exec replaces this process by a program in the namespace, found in PATH. It
// returns only if that fails, with an error that [exec.LookPath] or execve(2)
// gave.
func (n Namespace) Exec(argv []string) error {
	if len(argv) == 0 {
		return errors.New("no command to run")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return Do(n, func() error {
		// The new program gets the namespaces of the thread that calls this.
		return &os.PathError{Op: "exec", Path: path, Err: unix.Exec(path, argv, os.Environ())}
	})
}

// Dial connects from the namespace. addr is an IP address or a name that the
// upstream resolver has an A record of, and a port number.
func (n Namespace) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	addr, err := n.resolve(addr)
	if err != nil {
		return nil, fmt.Errorf("cannot connect from the lab's %s: %w", n.name, err)
	}
	var conn net.Conn
	err = Do(n, func() error {
		var err error
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// Listen listens for streams in the namespace. The host of addr is an IP
// address, or empty for all.
func (n Namespace) Listen(network, addr string) (net.Listener, error) {
	var l net.Listener
	err := n.listen(addr, func() error {
		var err error
		l, err = net.Listen(network, addr)
		return err
	})
	return l, err
}

// ListenPacket listens for datagrams in the namespace. The host of addr is an
// IP address, or empty for all.
func (n Namespace) ListenPacket(network, addr string) (net.PacketConn, error) {
	var c net.PacketConn
	err := n.listen(addr, func() error {
		var err error
		c, err = net.ListenPacket(network, addr)
		return err
	})
	return c, err
}

func (n Namespace) listen(addr string, f func() error) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil {
		return fmt.Errorf("cannot listen in the lab's %s on %q: use an IP address", n.name, addr)
	}
	return Do(n, f)
}

// resolve replaces a name by its address: the standard library would look it
// up from another thread, in the machine's own namespace.
func (n Namespace) resolve(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return addr, nil
	}
	ip, ok := n.zone.address(host)
	if !ok {
		return "", fmt.Errorf("the lab has no A record of %q; give it with Options.Records", host)
	}
	return net.JoinHostPort(ip, port), nil
}
