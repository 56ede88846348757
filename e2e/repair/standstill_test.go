package repair

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/e2e/rig"
)

// nodeService is a service of the node on every address, as an operator may
// have one.
const nodeService = "http://172.17.0.1:8022/"

func serveNode(t *testing.T, m *rig.Machine) {
	t.Helper()
	listener, err := m.Lab.ListenServer("tcp4", "0.0.0.0:8022")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
}

// standStill does something while the server cannot repair it.
func (s *site) standStill(t *testing.T, do func()) {
	t.Helper()
	server := s.PID()
	if err := unix.Kill(server, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Kill(server, unix.SIGCONT); err != nil {
			t.Error(err)
		}
	}()
	do()
}
