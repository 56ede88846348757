package server

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/directory"
	"github.com/atollhq/atoll/internal/resolver"
	"github.com/atollhq/atoll/internal/roster"
)

// After a boot, resolv.conf may be written later than the server starts.
func TestUpstreamsMayComeLater(t *testing.T) {
	r, err := resolver.New(resolver.Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Roster: roster.New(), Directory: directory.New(),
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{resolver: r, upstreams: filepath.Join(t.TempDir(), "resolv.conf")}
	found := make(chan error, 1)
	go func() { found <- n.awaitUpstreams(t.Context(), slog.Default()) }()
	select {
	case err := <-found:
		t.Fatalf("it found upstreams in no file (error %v)", err)
	case <-time.After(10 * time.Millisecond):
	}
	if err := os.WriteFile(n.upstreams, []byte("nameserver 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-found:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it does not look again")
	}
}
