package attack

import (
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/e2e/attack/order"
	"github.com/atollhq/atoll/e2e/rig"
)

// services puts listeners on the node where an operator has them, and checks
// at the end that no container got through to one.
func (s *siege) services(t *testing.T) {
	t.Helper()
	var visitors atomic.Int64
	for _, addr := range []string{"0.0.0.0:22", "0.0.0.0:443", "172.17.0.1:5000", "0.0.0.0:8080"} {
		listener, err := s.Lab.ListenServer("tcp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				if host, _, _ := net.SplitHostPort(conn.RemoteAddr().String()); host != "203.0.113.1" {
					visitors.Add(1)
				}
				conn.Close()
			}
		}()
	}
	// The internet reaches the one that is open to it: it is no dead socket.
	conn, err := s.Lab.DialInternet(t.Context(), "tcp4", "203.0.113.2:22")
	if err != nil {
		t.Fatalf("the service on the node does not answer anybody: %v", err)
	}
	conn.Close()
	t.Cleanup(func() {
		if n := visitors.Load(); n > 0 {
			t.Errorf("%d connections from containers reached services of the node", n)
		}
	})
}

// node are attacks on the node that no frame stands for.
func (s *siege) node(t *testing.T) {
	t.Run("port scan of the gateway", s.scanGateway)
	t.Run("port scan of the switch", s.scanSwitch)
	t.Run("sockets of the machine", s.sockets)
	t.Run("user namespace", s.userNamespace)
}

// userNamespace is where a process has all capabilities. Its twin is a process
// of the same user outside of a container: where the machine keeps such
// namespaces from everybody, a refusal says nothing about containers.
func (s *siege) userNamespace(t *testing.T) {
	out := s.attacker.plain.do(t, order.Order{Unshare: &order.Unshare{}})
	if out.Error != "EPERM" {
		t.Errorf("a user namespace, with all capabilities in it: %q, want EPERM", out.Error)
	}
	rig.Report(t, "attack: a user namespace of its own", "as an app: %s", out.Error)
	if twin := s.twin.attacker.do(t, order.Order{Unshare: &order.Unshare{}}); twin.Error != "" && !t.Failed() {
		t.Skipf("this machine gives no user namespace to a process of the same user outside of a container either: %s", twin.Error)
	}
}

// scanGateway knocks at every TCP port but those that are open to containers.
func (s *siege) scanGateway(t *testing.T) {
	scan := s.routed("every TCP port of the gateway", "node", nil)
	scan.once, scan.frames = true, s.knocks(func(port uint16, mark string) []byte {
		return frame(outsideMAC(gateway), outsideMAC(s.attacker.eth0), typeIPv4, syn(s.attacker.eth0, gateway, port, mark))
	})
	s.back.forget()
	s.run(t, scan)
	answers := s.back.calledBy(func(c call) bool { return c.from == gateway && c.protocol != unix.IPPROTO_UDP })
	if answers > 0 {
		t.Errorf("%d answers came back from ports that should be silent", answers)
	}
	// The twin of that: an open port answers, and would have been seen.
	question := frame(outsideMAC(gateway), outsideMAC(s.attacker.eth0), typeIPv4, syn(s.attacker.eth0, gateway, 53, newMark()))
	s.attacker.granted.must(t, order.Order{Raw: &order.Raw{Link: "eth0", Frames: [][]byte{question}, Times: 1}})
	rig.Await(t, arrival, "the open port to answer", func() error {
		if s.back.calledBy(func(c call) bool { return c.from == gateway && c.protocol == unix.IPPROTO_TCP }) == 0 {
			return net.ErrClosed
		}
		return nil
	})
}

// scanSwitch knocks at the switch namespace: at the MAC of the host end.
func (s *siege) scanSwitch(t *testing.T) {
	scan := s.one("every TCP port of the switch", "unknown-destination", nil)
	scan.once, scan.frames = true, s.knocks(func(port uint16, mark string) []byte {
		return frame(s.ends["pn0"], privateMAC(s.attacker.pn0), typeIPv4, syn(s.attacker.pn0, ip("10.240.3.254"), port, mark))
	})
	s.run(t, scan)
}

// knocks are frames to every port, but those of the node that are public.
func (s *siege) knocks(knock func(port uint16, mark string) []byte) func(string) [][]byte {
	return func(mark string) (frames [][]byte) {
		for port := 1; port <= 65535; port++ {
			if port != 53 && port != 80 {
				frames = append(frames, knock(uint16(port), mark))
			}
		}
		return frames
	}
}

// sockets are those of programs on the machine.
func (s *siege) sockets(t *testing.T) {
	containerd := filepath.Join(s.RunDir(), "engine", "containerd", "containerd.sock")
	conn, err := net.Dial("unix", containerd)
	if err != nil {
		t.Fatalf("containerd's socket is not where the test looks for it: %v", err)
	}
	conn.Close()
	paths := []string{containerd, "/run/containerd/containerd.sock", "/var/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"}
	out := s.attacker.plain.must(t, order.Order{Unix: &order.Unix{Paths: paths}})
	for path, result := range out.Results {
		if result == "connected" {
			t.Errorf("an app reaches the socket %s of the machine", path)
		}
	}
	rig.Report(t, "attack: sockets of containerd and others", "0 of %d reached; the machine itself reaches containerd's", len(out.Results))
}
