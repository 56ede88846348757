package inside

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/platform"
)

// The container of these tests is the server of a lab, what it reaches is the
// lab's internet.

func TestLookup(t *testing.T) {
	l := lab.Start(t, lab.Options{Records: []string{"shop.example. 60 IN A 203.0.113.7", "shop.example. 60 IN A 203.0.113.8"}})
	path, resolver := l.Server().Path(), netip.MustParseAddrPort(lab.InternetAddr+":53")
	code, addrs, err := Network{}.Lookup(t.Context(), path, resolver, "shop.example.")
	slices.SortFunc(addrs, netip.Addr.Compare)
	if err != nil || code != "NOERROR" || !slices.Equal(addrs, []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("203.0.113.8")}) {
		t.Errorf("%s %v, %v", code, addrs, err)
	}
	if code, _, err := (Network{}).Lookup(t.Context(), path, resolver, "nobody.example."); err != nil || code != "NXDOMAIN" {
		t.Errorf("%s, %v", code, err)
	}
	if _, _, err := (Network{}).Lookup(t.Context(), path, netip.MustParseAddrPort(lab.InternetAddr+":54"), "shop.example."); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a resolver that does not run: %v", err)
	}
	if code, _, err := (Network{}).Lookup(t.Context(), path, resolver, "no..name."); err != nil || code != "NXDOMAIN" {
		t.Errorf("no name: %s, %v", code, err)
	}
	questions, err := l.UpstreamQuestions()
	if err != nil || len(questions) < 2 { // more when the machine is slow: it asks again
		t.Errorf("the questions came as %+v, %v", questions, err)
	}
	for _, q := range questions {
		if !strings.HasPrefix(q.From, lab.ServerAddr+":") {
			t.Errorf("a question did not come from inside: %+v", q)
		}
	}
}

func TestTry(t *testing.T) {
	l := lab.Start(t, lab.Options{})
	path := l.Server().Path()
	packets, err := l.Internet().ListenPacket("udp4", lab.InternetAddr+":9999")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	try := func(protocol, to string) error {
		return Network{}.Try(t.Context(), path, protocol, netip.MustParseAddrPort(to))
	}
	if err := try("tcp", lab.EchoAddr+":80"); err != nil {
		t.Error(err)
	}
	if err := try("tcp", lab.EchoAddr+":81"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody there: %v", err)
	}
	if err := try("tcp", "203.0.113.99:80"); !errors.Is(err, syscall.EHOSTUNREACH) && !isTimeout(err) {
		t.Errorf("an address of nobody: %v", err)
	}
	if err := try("udp", lab.InternetAddr+":9999"); err != nil {
		t.Error(err)
	}
	if err := packets.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, from, err := packets.ReadFrom(make([]byte, 100)); err != nil || n != 0 || from.(*net.UDPAddr).IP.String() != lab.ServerAddr {
		t.Errorf("%d bytes from %v, %v; want an empty datagram from %s", n, from, err, lab.ServerAddr)
	}
	if err := try("udp", lab.InternetAddr+":9998"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody there by UDP: %v", err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestWayAndListeners(t *testing.T) {
	l := lab.Start(t, lab.Options{})
	if err := (Network{}).Try(t.Context(), l.Server().Path(), "tcp", netip.MustParseAddrPort(lab.EchoAddr+":80")); err != nil {
		t.Fatal(err)
	}
	w, err := Network{}.Way(l.Server().Path(), netip.MustParseAddr(lab.InternetAddr))
	if err != nil || w.Link != "uplink0" || w.Source.String() != lab.ServerAddr || w.Neighbour == "" {
		t.Errorf("%+v, %v", w, err)
	}
	if err := lab.Do(l.Server(), func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		return h.RouteDel(&netlink.Route{Gw: net.ParseIP(lab.InternetAddr)})
	}); err != nil {
		t.Fatal(err)
	}
	if w, err := (Network{}).Way(l.Server().Path(), netip.MustParseAddr(lab.EchoAddr)); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("without a route: %+v, %v", w, err)
	}

	listeners, err := Network{}.Listeners(l.Internet().Path())
	want := platform.Listener{Protocol: "tcp", Addr: netip.MustParseAddr(lab.EchoAddr), Port: 80}
	if err != nil || !slices.Contains(listeners, want) {
		t.Errorf("%v, %v; want %v among them", listeners, err, want)
	}
}

// TestThreadsComeBack: nothing of this process may stay in another namespace.
func TestThreadsComeBack(t *testing.T) {
	l := lab.Start(t, lab.Options{})
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 50 {
		if err := (Network{}).Try(ctx, l.Server().Path(), "tcp", netip.MustParseAddrPort(lab.EchoAddr+":80")); err != nil {
			t.Fatal(err)
		}
		if err := (Network{}).Try(ctx, "/no/such/namespace", "tcp", netip.MustParseAddrPort(lab.EchoAddr+":80")); !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if ns, err := os.Readlink("/proc/self/task/" + e.Name() + "/ns/net"); err == nil && ns != want {
			t.Errorf("thread %s is in %s, not in %s", e.Name(), ns, want)
		}
	}
}
