package sandbox_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/outside"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/privnet"
	"github.com/atollhq/atoll/internal/sandbox"
)

func TestANewServerTakesOverWhatRunsAndRemovesTheRest(t *testing.T) {
	m := newMachine(t)
	a, b, gone := m.container("a", 1, 8080), m.container("b", 1, 0), m.container("gone", 1, 0)
	m.listen(a.NetnsPath, "0.0.0.0:8080", "a")
	m.listen(b.NetnsPath, "0.0.0.0:9000", "b")

	// A kill: nothing is closed, the next server opens the same folders.
	// Left-overs of a kill in mid-work are added.
	if err := os.WriteFile(filepath.Join(m.lab.Dir(), "sandboxes", "half.json.new"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.lab.Dir(), "netns", "containers", "unknown"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.run(m.lab.Server().Path(), "nft delete element ip atoll_outside public '{ "+a.OutsideAddr.String()+" . 8080 }'")
	m.open()
	m.wantAnswer(a.NetnsPath, "", b.PrivateAddr.String()+":9000", "b")
	m.restore("a", "b", "never-made")

	m.wantAnswer(m.lab.Server().Path(), "", a.OutsideAddr.String()+":8080", "a")
	m.wantAnswer(a.NetnsPath, "", b.PrivateAddr.String()+":9000", "b")
	if again := m.container("a", 1, 8080); again.Sandbox != a.Sandbox {
		t.Errorf("the sandbox changed from %+v to %+v", a.Sandbox, again.Sandbox)
	}
	for _, dir := range []string{"sandboxes", filepath.Join("netns", "containers")} {
		if left := notes(t, filepath.Join(m.lab.Dir(), dir)); len(left) != 2 {
			t.Errorf("%s holds %v, want two entries", dir, left)
		}
	}
	if links := m.run(m.lab.Server().Path(), "ip -o link"); strings.Count(links, "ato-") != 2 {
		t.Errorf("links are\n%s", links)
	}
	// The addresses of the one that is gone rest, over another restart too.
	m.open()
	m.restore("a", "b")
	next := m.container("next", 1, 0)
	if next.PrivateAddr == gone.PrivateAddr || next.OutsideAddr == gone.OutsideAddr {
		t.Errorf("a new container got %s and %s at once after their last holder", next.PrivateAddr, next.OutsideAddr)
	}
}

// A kill between the note and the namespace leaves an empty file, and so does
// a restart of the machine where the folder is kept.
func TestAWantedSandboxWithoutANamespaceIsMadeAnew(t *testing.T) {
	m := newMachine(t)
	whole, half := m.container("whole", 1, 0), m.container("half", 1, 0)
	if err := unix.Unmount(half.NetnsPath, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	m.open()
	m.restore("whole", "half")
	if list := m.manager.List(); len(list) != 1 || list[0] != whole.Sandbox {
		t.Errorf("sandboxes are %+v, want the whole one as it was", list)
	}
	again := m.container("half", 1, 8080)
	if again.PrivateAddr == half.PrivateAddr || again.OutsideAddr == half.OutsideAddr {
		t.Errorf("it has %s and %s again, without rest", again.PrivateAddr, again.OutsideAddr)
	}
	m.listen(again.NetnsPath, "0.0.0.0:8080", "half")
	m.wantAnswer(m.lab.Server().Path(), "", again.OutsideAddr.String()+":8080", "half")
	m.wantAnswer(whole.NetnsPath, "", again.PrivateAddr.String()+":8080", "half")
}

func TestTeardownLeavesNothing(t *testing.T) {
	m := newMachine(t)
	before := m.run(m.lab.Server().Path(), "ip -o link | wc -l; nft list ruleset")
	m.container("a", 1, 8080)
	for range 2 {
		m.on(func() error { return m.manager.Teardown(t.Context(), "a") })
	}
	after := m.run(m.lab.Server().Path(), "ip -o link | wc -l; nft list ruleset")
	if noCounters(before) != noCounters(after) {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	for _, dir := range []string{"sandboxes", filepath.Join("netns", "containers")} {
		if left := notes(t, filepath.Join(m.lab.Dir(), dir)); len(left) != 0 {
			t.Errorf("%s holds %v", dir, left)
		}
	}
}

// notes lists a folder without the notes of addresses that rest.
func notes(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".freed") {
			names = append(names, e.Name())
		}
	}
	return names
}

func noCounters(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		if !strings.Contains(line, "packets ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func TestASetupThatFailsChangesNothing(t *testing.T) {
	m := newMachine(t)
	m.container("first", 7, 0)
	before := m.run(m.lab.Server().Path(), "ip -o link | cut -d: -f2")
	// Another endpoint has the address that comes next.
	taken := netip.MustParseAddr("10.240.0.2")
	m.on(func() error {
		return m.private.Attach(t.Context(), privnet.Endpoint{ID: "squatter", Network: 7, Addr: taken, ContainerNetns: m.lab.Internet().Path()})
	})
	m.on(func() error {
		for _, id := range []string{"second", "../evil", ""} {
			_, err := m.manager.Setup(t.Context(), sandbox.Request{InstanceID: id, Private: true, Outside: true, Network: platform.PrivateNetwork{Key: 7}})
			if err == nil {
				t.Errorf("%q was set up", id)
			}
		}
		return nil
	})
	if after := m.run(m.lab.Server().Path(), "ip -o link | cut -d: -f2"); after != before {
		t.Errorf("links changed from\n%s\nto\n%s", before, after)
	}
	if left := notes(t, filepath.Join(m.lab.Dir(), "sandboxes")); len(left) != 1 {
		t.Errorf("notes are %v, want that of the first only", left)
	}
}

func TestARangeThatIsInUseIsRefused(t *testing.T) {
	m := newMachine(t)
	m.run(m.lab.Server().Path(), "ip link add docker9 type bridge; ip addr add 172.20.0.1/16 dev docker9; ip link set docker9 up")
	m.on(func() error {
		_, err := outside.Open(outside.Config{Bridge: "atoll9", Prefix: netip.MustParsePrefix("172.20.0.0/16")})
		if err == nil || !strings.Contains(err.Error(), "docker9") || !strings.Contains(err.Error(), "--outside-prefix") {
			t.Errorf("error is %v; want one that names docker9 and the flag", err)
		}
		return nil
	})
	if links := m.run(m.lab.Server().Path(), "ip -o link"); strings.Contains(links, "atoll9") {
		t.Error("a refused network left its bridge")
	}
}

// A group may change while the sandbox exists, and nothing else; the next
// server knows it. Notes of a version before have none.
func TestAGroupChangesWithoutTouchingTheRest(t *testing.T) {
	m := newMachine(t)
	a, b := m.container("a", 1, 0), m.container("b", 1, 0)
	m.listen(b.NetnsPath, "0.0.0.0:9000", "b")
	links := m.run(m.lab.Server().Path(), "ip -o link")
	regrouped := a.Sandbox
	regrouped.Group = 7
	again := func(group uint32) (s sandbox.Sandbox) {
		t.Helper()
		r := a.Request
		r.Group = group
		m.on(func() (err error) {
			s, err = m.manager.Setup(t.Context(), r)
			return err
		})
		return s
	}
	for range 2 {
		if s := again(7); s != regrouped {
			t.Errorf("sandbox is %+v, want %+v", s, regrouped)
		}
	}
	m.on(func() error {
		r := a.Request
		r.Group, r.PublicPort = 8, 9000
		if s, err := m.manager.Setup(t.Context(), r); err == nil {
			t.Errorf("asking for %+v gave %+v", r, s)
		}
		return nil
	})
	groupOf := func() (group uint32) {
		t.Helper()
		m.on(func() error {
			ports, err := m.private.List(t.Context())
			for _, p := range ports {
				if p.Addr == a.PrivateAddr {
					group = p.Group
				}
			}
			return err
		})
		return group
	}
	if got := groupOf(); got != 7 {
		t.Errorf("the switch knows it by group %d", got)
	}
	if now := m.run(m.lab.Server().Path(), "ip -o link"); now != links {
		t.Errorf("links were\n%s\nare\n%s", links, now)
	}
	m.wantAnswer(a.NetnsPath, "", b.PrivateAddr.String()+":9000", "b")
	m.open()
	m.restore("a", "b")
	if list := m.manager.List(); len(list) != 2 || list[0] != regrouped || list[1] != b.Sandbox {
		t.Errorf("sandboxes are %+v", list)
	}
	if got := groupOf(); got != 7 {
		t.Errorf("after a restart the switch knows it by group %d", got)
	}
}
