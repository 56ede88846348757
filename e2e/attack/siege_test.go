package attack

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/atollhq/atoll/e2e/rig"
)

// siege is the attacker and all that there is to attack.
type siege struct {
	*rig.Machine
	program string // built for the test

	attacker party
	// neighbour is private and listens on all addresses; frontend is public.
	// They are in the attacker's private network.
	neighbour, frontend party
	// strangers are in another network; the first has the attacker's address,
	// the second the neighbour's, and the last one that nobody has here.
	strangers [3]party
	twin      twin

	// witnesses are those who must not see a mark: all containers but the
	// attacker, the node's end of the containers' bridge, and the internet.
	witnesses []*sniffer
	bridge    *sniffer
	internet  *sniffer
	// ends are the MACs of the host ends of the attacker's interfaces.
	ends map[string]net.HardwareAddr
	// back is what comes back to the attacker by eth0.
	back *sniffer
}

// party is one container.
type party struct {
	name      string
	app       rig.App
	container rig.Container
	netns     string
	pn0, eth0 netip.Addr
	// plain takes orders as the app's process; granted, of the attacker only,
	// has CAP_NET_RAW and CAP_NET_ADMIN.
	plain, granted post
}

// gateway is the node's address on the containers' bridge.
var gateway = netip.MustParseAddr("172.17.0.1")

// servicePort is where victims listen, on all their addresses.
const servicePort = 3000

func openSiege(t *testing.T) *siege {
	m := rig.Use(t)
	s := &siege{Machine: m, program: build(t)}
	here, elsewhere := m.Project(t, "besieged"), m.Project(t, "elsewhere")
	// One after the other, so that the addresses of both networks begin alike.
	s.attacker = s.deploy(t, here, "attack-raider", "raid")
	s.neighbour = s.deploy(t, here, "attack-neighbour", "api")
	s.frontend = s.deploy(t, here, "attack-frontend", "web")
	s.strangers[0] = s.deploy(t, elsewhere, "attack-stranger", "api")
	s.strangers[1] = s.deploy(t, elsewhere, "attack-other", "web")
	s.strangers[1].app.Must(t, "scale", "web:2") // alone, so that the third has the next address
	s.strangers[1].app.Must(t, "scale", "web:3")
	s.strangers[2] = s.party(t, s.strangers[1].app, "web-3")
	if s.strangers[0].pn0 != s.attacker.pn0 || s.strangers[1].pn0 != s.neighbour.pn0 {
		t.Fatalf("the strangers have %s and %s, want %s and %s: the same addresses in two networks", s.strangers[0].pn0, s.strangers[1].pn0, s.attacker.pn0, s.neighbour.pn0)
	}
	if last := s.strangers[2].pn0; last == s.neighbour.pn0 || last == s.frontend.pn0 {
		t.Fatalf("the last stranger has %s, want an address that nobody has in the attacker's network", last)
	}
	s.ends = map[string]net.HardwareAddr{
		"pn0":  hostEnd(t, s.attacker.netns, "pn0", filepath.Join(m.RunDir(), "netns", "switch")),
		"eth0": hostEnd(t, s.attacker.netns, "eth0", m.Lab.Server().Path()),
	}
	s.attacker.granted = s.grant(t, s.attacker.netns, s.attacker.container.First(t))
	s.twin = s.openTwin(t)
	for _, p := range s.victims() {
		s.witnesses = append(s.witnesses, sniff(t, p.name, p.netns, "pn0"), sniff(t, p.name, p.netns, "eth0"))
	}
	s.bridge = sniff(t, "the node", m.Lab.Server().Path(), "atoll0")
	s.internet = sniff(t, "the internet", m.Lab.Internet().Path(), "server0")
	s.back = sniff(t, "the attacker", s.attacker.netns, "eth0")
	return s
}

func (s *siege) victims() []party {
	return append([]party{s.neighbour, s.frontend}, s.strangers[:]...)
}

// build builds the attack program.
func build(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "attacker")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, "./attacker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the attack program: %v\n%s", err, out)
	}
	return path
}

// deploy makes an app of the program, with one container of one type.
func (s *siege) deploy(t *testing.T, project, name, kind string) party {
	t.Helper()
	program, err := os.ReadFile(s.program)
	if err != nil {
		t.Fatal(err)
	}
	a := s.App(t, project, name)
	if kind != "web" {
		a.Must(t, "scale", "web:0")
	}
	a.Deploy(t, rig.Folder(t, map[string]string{
		"attacker": string(program),
		"Procfile": fmt.Sprintf("%s: env LISTEN=%d ./attacker /tmp/orders\n", kind, servicePortOf(kind)),
	}))
	if kind != "web" {
		a.Must(t, "scale", kind+":1")
	}
	return s.party(t, a, kind+"-1")
}

// party looks up a container.
func (s *siege) party(t *testing.T, a rig.App, label string) party {
	t.Helper()
	p := party{name: a.Name + " " + label, app: a, container: a.Container(t, label)}
	first := p.container.First(t)
	p.netns = fmt.Sprintf("/proc/%d/ns/net", first)
	p.plain = post(fmt.Sprintf("/proc/%d/root/tmp/orders", first))
	p.plain.await(t)
	p.pn0 = netip.MustParseAddr(p.container.Atoll.PrivateIP)
	outside, _ := p.container.Address(t, "eth0")
	p.eth0 = netip.MustParseAddr(outside)
	return p
}

// servicePortOf is that of a type: a public one must listen on PORT.
func servicePortOf(kind string) int {
	if kind == "web" {
		return 8080
	}
	return servicePort
}

// grant starts the program in a network namespace as the user of a process,
// with two capabilities and no way to more.
func (s *siege) grant(t *testing.T, netns string, like int, env ...string) post {
	t.Helper()
	user := userOf(t, like)
	dir, err := os.MkdirTemp("", "attack-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := os.ReadFile(s.program)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "attacker")
	for _, step := range []error{os.WriteFile(copied, program, 0o755), os.Chmod(dir, 0o700), os.Chown(dir, user, user)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	const only = "-all,+net_raw,+net_admin"
	id := strconv.Itoa(user)
	cmd := exec.Command("nsenter", "--net="+netns, "--", "setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--no-new-privs",
		"--bounding-set", only, "--inh-caps", only, "--ambient-caps", only, copied, filepath.Join(dir, "orders"))
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := post(filepath.Join(dir, "orders"))
	p.await(t)
	return p
}

func userOf(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "Uid:" {
			user, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return user
		}
	}
	t.Fatalf("process %d has no user", pid)
	return 0
}

// hostEnd is the MAC of the other end of a container's interface.
func hostEnd(t *testing.T, netns, link, hosts string) (mac net.HardwareAddr) {
	t.Helper()
	var index int
	inside(t, netns, func() error {
		l, err := netlink.LinkByName(link)
		if err == nil {
			index = l.Attrs().ParentIndex
		}
		return err
	})
	inside(t, hosts, func() error {
		l, err := netlink.LinkByIndex(index)
		if err == nil {
			mac = l.Attrs().HardwareAddr
		}
		return err
	})
	return mac
}

// privateMAC and outsideMAC are those of an address on pn0 and on eth0.
func privateMAC(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0xa7, b[0], b[1], b[2], b[3]}
}

func outsideMAC(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0xa8, b[0], b[1], b[2], b[3]}
}
