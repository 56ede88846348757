package repair

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/e2e/rig"
	"github.com/atollhq/atoll/internal/engine/containerd"
	"github.com/atollhq/atoll/internal/upkeep"
)

// site is an app with a public and a private type, and one of another project.
type site struct {
	*rig.Machine
	shop, stranger rig.App
	web, api, far  rig.Container
}

func newSite(t *testing.T) *site {
	m := rig.Use(t)
	s := &site{Machine: m, shop: m.App(t, m.Project(t, "repair-shop"), "repair-shop"), stranger: m.App(t, m.Project(t, "repair-far"), "repair-far")}
	s.shop.Deploy(t, rig.Probe(t, "1", rig.Types{"web": "", "api": "--private"}))
	s.shop.Must(t, "scale", "api:1")
	s.stranger.Deploy(t, rig.Probe(t, "1", rig.Types{"web": ""}))
	serveNode(t, m)
	s.look(t)
	rig.Await(t, time.Minute, "the containers of other tests to be gone", func() error {
		notes, err := filepath.Glob(filepath.Join(m.RunDir(), "sandboxes", "*.json"))
		if err == nil && len(notes) != 3 {
			err = fmt.Errorf("there are %d sandboxes", len(notes))
		}
		return err
	})
	return s
}

func (s *site) look(t *testing.T) {
	s.web, s.api, s.far = s.shop.Container(t, "web-1"), s.shop.Container(t, "api-1"), s.stranger.Container(t, "web-1")
}

// wantInOrder tries traffic and isolation.
func (s *site) wantInOrder(t *testing.T) {
	t.Helper()
	rig.Await(t, 20*time.Second, "traffic to pass again", func() error {
		if p, err := s.Visit(s.shop.URL("/")); err != nil || p.Status != 200 {
			return fmt.Errorf("the router: status %d, %v", p.Status, err)
		}
		if _, err := s.web.Fetch(t, rig.Private("api.repair-shop.internal")); err != nil {
			return fmt.Errorf("the private network: %w", err)
		}
		if _, err := s.web.Fetch(t, "http://echo.example/"); err != nil {
			return fmt.Errorf("the outside: %w", err)
		}
		return nil
	})
	web, _ := s.web.Address(t, "eth0")
	s.far.WantRefused(t, rig.Private(s.api.Atoll.PrivateIP))
	s.far.WantRefused(t, "http://"+web+":8080/") // where the router finds it
	s.far.WantRefused(t, rig.APIURL+"/healthz")
	s.far.WantRefused(t, nodeService)
}

func (s *site) netns(id string) string {
	return filepath.Join(s.RunDir(), "netns", "containers", id)
}
func (s *site) switchNS() string { return filepath.Join(s.RunDir(), "netns", "switch") }
func (s *site) pins() string     { return filepath.Join(s.Lab.BPFFS(), "privnet") }
func (s *site) node() string     { return s.Lab.Server().Path() }

// run runs a script in a network namespace.
func run(t *testing.T, netns, script string) string {
	t.Helper()
	out, err := exec.Command("nsenter", "--net="+netns, "sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// hostEnd is the name of a container's interface in a namespace.
func hostEnd(t *testing.T, netns, id string) string {
	t.Helper()
	return run(t, netns, "ip -o link | grep 'alias "+id+"$' | cut -d: -f2 | cut -d@ -f1 | tr -d ' '")
}

func (s *site) state(t *testing.T) upkeep.State {
	t.Helper()
	state, err := upkeep.ReadState(s.RunDir())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// awaitRepair waits until the timer found something to do since before, and
// nothing more.
func (s *site) awaitRepair(t *testing.T, before upkeep.State) time.Duration {
	t.Helper()
	began := time.Now()
	rig.Await(t, 30*time.Second, "the repair", func() error {
		now := s.state(t)
		if now.Repairs <= before.Repairs || !now.Healthy() || len(now.Repaired)+len(now.Removed) > 0 {
			return fmt.Errorf("the state is %+v", now)
		}
		return nil
	})
	return time.Since(began)
}

// TestMistakesAreRepaired breaks one thing after the other while apps run.
func TestMistakesAreRepaired(t *testing.T) {
	s := newSite(t)
	s.wantInOrder(t)
	before := []rig.Standing{s.shop.Standing(t), s.stranger.Standing(t)}
	webNS, apiNS := s.netns(s.web.ID), s.netns(s.api.ID)
	var slowest time.Duration
	web, _ := s.web.Address(t, "eth0")
	notIsolated := "bridge link set dev " + hostEnd(t, s.node(), s.far.ID) + " isolated off"
	// What a mistake opens to the stranger, of what wantInOrder wants closed.
	opens := map[string]string{
		"an emptied firewall":                   nodeService,
		"neither a firewall nor isolated ports": "http://" + web + ":8080/",
	}
	mistakes := []struct{ name, netns, script, logged string }{
		{"an emptied firewall", s.node(), "nft flush ruleset", "the table is gone"},
		{"neither a firewall nor isolated ports", s.node(), "nft flush ruleset; " + notIsolated, "isolated"},
		{"a deleted bridge port", s.node(), "ip link del " + hostEnd(t, s.node(), s.web.ID), "the host end of its interface is gone"},
		{"a deleted bridge", s.node(), "ip link del atoll0", "the bridge is gone"},
		{"a port that is not isolated", s.node(), notIsolated, "isolated"}, // alone it opens nothing: the rules hold
		{"no forwarding", s.node(), "echo 0 > /proc/sys/net/ipv4/ip_forward", "net/ipv4/ip_forward"},
		{"a deleted qdisc of the switch", s.switchNS(), "tc qdisc del dev " + hostEnd(t, s.switchNS(), s.api.ID) + " clsact", "program"},
		{"a deleted private interface", s.switchNS(), "ip link del " + hostEnd(t, s.switchNS(), s.api.ID), s.api.ID},
		{"another private address", apiNS, "ip addr flush dev pn0; ip addr add 10.240.3.200/32 dev pn0", s.api.ID},
		{"no private route", webNS, "ip route del 10.240.0.0/22", s.web.ID},
		{"no default route", webNS, "ip route del default", "the default route"},
		{"a wrong setting", webNS, "echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore", "arp_ignore"},
		{"a namespace that is not bound", s.node(), "umount " + webNS, "not bound any more"},
		{"a setting of the switch", s.switchNS(), "echo 1 > /proc/sys/net/ipv4/ip_forward", "switch:net/ipv4/ip_forward"},
		{"a pin of the switch", s.node(), "rm " + filepath.Join(s.pins(), "pn_members"), "pn_members"},
		{"no pins of the switch", s.node(), "rm -r " + s.pins(), "pn_policies"},
		{"no BPF file system", s.node(), "umount -l " + filepath.Dir(s.pins()), "the BPF file system was not mounted"},
		{"a switch namespace that is not bound", s.node(), "umount -l " + s.switchNS() + "; rm " + s.switchNS(), "the switch namespace was not bound"},
		{"a damaged note", s.node(), "echo '{' > " + filepath.Join(s.RunDir(), "sandboxes", s.api.ID+".json"), "its note"},
	}
	for _, mistake := range mistakes {
		t.Run(mistake.name, func(t *testing.T) {
			state, length := s.state(t), len(s.ServerLog(1<<20))
			breakIt := func() { run(t, mistake.netns, mistake.script) }
			if mistake.name == "a namespace that is not bound" {
				breakIt = func() {
					if err := unix.Unmount(webNS, unix.MNT_DETACH); err != nil {
						t.Fatal(err)
					}
				}
			}
			if url := opens[mistake.name]; url != "" {
				s.standStill(t, func() {
					breakIt()
					// Again: its kernel may still be about to give up an earlier
					// question for the MAC.
					rig.Await(t, 10*time.Second, "the stranger to reach "+url+" without a repair (a refusal would prove nothing)", func() error {
						_, err := s.far.Run(t, "curl", "-sS", "--max-time", "5", url)
						return err
					})
				})
			} else {
				breakIt()
			}
			slowest = max(slowest, s.awaitRepair(t, state))
			s.wantInOrder(t)
			if log := s.ServerLog(1 << 20)[length:]; !strings.Contains(log, mistake.logged) {
				t.Errorf("the log does not have %q:\n%s", mistake.logged, log)
			}
		})
	}
	for i, a := range []rig.App{s.shop, s.stranger} {
		a.WantUnchanged(t, &before[i])
	}
	rig.Report(t, "repair: mistakes from outside", "%d repaired without a restart of a container, the slowest after %v with a look each 0.5 s", len(mistakes), slowest.Round(100*time.Millisecond))
}

// TestTheSwitchOutlivesItsPieces takes pieces of the switch away and kills the
// server: with what was put back before, or found where it is in use, the next
// one takes over the same tables.
func TestTheSwitchOutlivesItsPieces(t *testing.T) {
	s := newSite(t)
	s.wantInOrder(t)
	before := []rig.Standing{s.shop.Standing(t), s.stranger.Standing(t)}
	losses := []struct {
		name, script string
		repaired     bool // before the kill
		logged       string
	}{
		{"a pin", "rm " + filepath.Join(s.pins(), "pn_ports"), true, "pn_ports"},
		{"a pin just before", "rm " + filepath.Join(s.pins(), "pn_ports"), false, "pn_ports"},
		{"the BPF file system just before", "umount -l " + filepath.Dir(s.pins()), false, "pn_members"},
		{"the binding", "umount -l " + s.switchNS(), true, "the switch namespace was not bound"},
		{"the binding just before", "umount -l " + s.switchNS(), false, "a new one was made"},
	}
	for _, loss := range losses {
		t.Run(loss.name, func(t *testing.T) {
			known, state, length := s.packets(t), s.state(t), len(s.ServerLog(1<<20))
			if loss.repaired {
				run(t, s.node(), loss.script)
				s.awaitRepair(t, state)
				if err := s.Kill(); err != nil {
					t.Fatal(err)
				}
			} else {
				if err := s.Kill(); err != nil {
					t.Fatal(err)
				}
				run(t, s.node(), loss.script)
			}
			began := time.Now()
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			s.wantInOrder(t)
			rig.Await(t, 10*time.Second, "the flows to go on", func() error {
				if now := s.packets(t); now <= known {
					return fmt.Errorf("%d packets are counted between the containers, before %d", now, known)
				}
				return nil
			})
			rig.Await(t, 30*time.Second, "a look of the new server", func() error {
				if now := s.state(t); now.At.Before(began) || !now.Healthy() {
					return fmt.Errorf("the state is %+v", now)
				}
				return nil
			})
			if log := s.ServerLog(1 << 20)[length:]; !strings.Contains(log, loss.logged) {
				t.Errorf("the log does not have %q:\n%s", loss.logged, log)
			}
		})
	}
	for i, a := range []rig.App{s.shop, s.stranger} {
		a.WantUnchanged(t, &before[i])
	}
	state := s.state(t)
	run(t, s.node(), "rm "+filepath.Join(s.pins(), "pn_rules"))
	s.awaitRepair(t, state)
	if out := s.Operate(t, s.Lab.Server(), append([]string{"doctor"}, s.Settings()...)...); !strings.Contains(out.Stdout, "pn_rules: the table was not pinned any more") {
		t.Errorf("the doctor does not tell of a repair:\n%v", out)
	}
	rig.Report(t, "repair: pieces of the switch", "%d losses around kill -9 of the server: the same containers talk, their flows go on", len(losses))
}

// packets counts what passed in the private network of the app.
func (s *site) packets(t *testing.T) (n int) {
	t.Helper()
	var flows []struct {
		Packets      int
		ReplyPackets int `json:"reply_packets"`
	}
	s.shop.Read(t, &flows, "flows")
	for _, f := range flows {
		n += f.Packets + f.ReplyPackets
	}
	return n
}

// TestAForeignFirewallIsNamed: what cannot be repaired is at least said.
func TestAForeignFirewallIsNamed(t *testing.T) {
	s := newSite(t)
	run(t, s.node(), `nft -f - <<'X'
table inet firewalld { chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; ct state established accept; reject with icmpx admin-prohibited; }; }
X`)
	if _, err := s.web.Fetch(t, "http://echo.example/"); err == nil {
		t.Error("the test proves nothing: containers reach the outside")
	}
	rig.Await(t, 20*time.Second, "the obstacle in the state", func() error {
		if state := s.state(t); len(state.Obstacles) != 1 || state.Obstacles[0].Table != "inet firewalld" {
			return fmt.Errorf("obstacles are %+v", state.Obstacles)
		}
		return nil
	})
	if log := s.ServerLog(1 << 20); !strings.Contains(log, "Another firewall drops") || !strings.Contains(log, "inet firewalld") {
		t.Errorf("the log does not name it:\n%s", s.ServerLog(20))
	}
	run(t, s.node(), "nft delete table inet firewalld")
	s.wantInOrder(t)
}

// TestALostDatabaseEndsNothing puts an empty database in the place of the
// real one: what runs goes on, and nothing new meets it.
func TestALostDatabaseEndsNothing(t *testing.T) {
	s := newSite(t)
	standing := []int{s.web.First(t), s.api.First(t), s.far.First(t)}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	lost := filepath.Join(s.DataDir(), "lost")
	swap(t, s.DataDir(), lost)
	former, err := s.Init()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, 20*time.Second, "the refusal", func() error {
		if state := s.state(t); state.Healthy() || len(state.Workloads) != 3 {
			return fmt.Errorf("the state is %+v", state)
		}
		return nil
	})
	if log := s.ServerLog(1 << 20); strings.Count(log, "REFUSED TO STOP CONTAINERS") != 1 {
		t.Errorf("the log does not say so once:\n%s", s.ServerLog(20))
	}
	if events := s.Must(t, "events", "--all", "--json"); !strings.Contains(events, "network_repair_refused") {
		t.Errorf("there is no event of it: %s", events)
	}
	if _, err := s.web.Fetch(t, rig.Private(s.api.Atoll.PrivateIP)); err != nil {
		t.Errorf("the private network of what runs: %v", err)
	}
	if now := []int{s.web.First(t), s.api.First(t), s.far.First(t)}; fmt.Sprint(now) != fmt.Sprint(standing) {
		t.Errorf("processes %v run, before %v", now, standing)
	}

	// The real one comes back. What was made with the other is foreign now.
	fresh := s.App(t, s.Project(t, "repair-fresh"), "repair-fresh")
	fresh.Deploy(t, rig.Probe(t, "1", rig.Types{"web": ""}))
	alien := fresh.Container(t, "web-1")
	alien.WantRefused(t, rig.Private(s.api.Atoll.PrivateIP))
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, file := range databaseFiles(t, s.DataDir()) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	swap(t, lost, s.DataDir())
	s.SetToken(former)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	s.wantInOrder(t)
	rig.Await(t, 20*time.Second, "the refusal", func() error {
		if state := s.state(t); len(state.Workloads) != 1 {
			return fmt.Errorf("the state is %+v", state)
		}
		return nil
	})
	if out, err := exec.Command(s.Program(), "server", "--accept-removal", "--run-dir", s.RunDir(), "--data-dir", s.DataDir()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rig.AwaitGone(t, alien)
	rig.Await(t, 20*time.Second, "a healthy state", func() error {
		if state := s.state(t); !state.Healthy() {
			return fmt.Errorf("the state is %+v", state)
		}
		return nil
	})
	s.wantInOrder(t)
	if now := []int{s.web.First(t), s.api.First(t), s.far.First(t)}; fmt.Sprint(now) != fmt.Sprint(standing) {
		t.Errorf("processes %v run, before %v", now, standing)
	}
	rig.Report(t, "repair: lost database", "%d containers and their networks outlived an empty database and the return of the real one", len(standing))
}

// TestALostEngineCutsNobodyOff takes away what containerd knows. The server
// starts a container in the place of each that it does not know any more; those
// go on, over a restart too, until somebody decides.
func TestALostEngineCutsNobodyOff(t *testing.T) {
	s := newSite(t)
	lost := []rig.Container{s.web, s.api, s.far}
	standing := []int{s.web.First(t), s.api.First(t), s.far.First(t)}
	t.Cleanup(func() {
		for _, pid := range standing {
			_ = syscall.Kill(pid, syscall.SIGKILL) // nobody else knows them
		}
	})
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	daemon := containerd.Daemon{DataDir: filepath.Join(s.DataDir(), "engine", "containerd"), RunDir: filepath.Join(s.RunDir(), "engine", "containerd"), Log: slog.Default()}
	if err := daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(daemon.DataDir, filepath.Join(s.DataDir(), "lost-containerd")); err != nil {
		t.Fatal(err)
	}
	for _, start := range []string{"the first start", "a restart"} {
		began := time.Now()
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		rig.Await(t, 30*time.Second, "replacements and looks after them", func() error {
			notes, err := filepath.Glob(filepath.Join(s.RunDir(), "sandboxes", "*.json"))
			if err != nil || len(notes) < 2*len(lost) {
				return fmt.Errorf("there are %d sandboxes (%v)", len(notes), err)
			}
			if state := s.state(t); state.At.Before(began) || state.Looks < 5 {
				return fmt.Errorf("the server has looked %d times", state.Looks)
			}
			return nil
		})
		state, held := s.state(t), map[string]bool{}
		for _, r := range state.Report.Refused {
			for _, id := range r.Containers {
				held[id] = true
			}
		}
		for i, c := range lost {
			if !held[c.ID] {
				t.Errorf("after %s, the removal of %s is not refused: %+v", start, c.Label, state)
			}
			if first := c.First(t); first != standing[i] {
				t.Errorf("after %s, %s is process %d, was %d", start, c.Label, first, standing[i])
			}
		}
		if _, err := s.web.Fetch(t, rig.Private(s.api.Atoll.PrivateIP)); err != nil {
			t.Errorf("after %s, the private network of what runs: %v", start, err)
		}
		s.far.WantRefused(t, rig.Private(s.api.Atoll.PrivateIP))
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(s.Program(), "server", "--accept-removal", "--run-dir", s.RunDir(), "--data-dir", s.DataDir()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rig.Await(t, 20*time.Second, "a healthy state", func() error {
		if state := s.state(t); !state.Healthy() {
			return fmt.Errorf("the state is %+v", state)
		}
		return nil
	})
	s.web.WantRefused(t, rig.Private(s.api.Atoll.PrivateIP))
	rig.Report(t, "repair: lost containerd", "%d containers and their networks outlived the loss of containerd's data, beside as many new ones and over a restart, until their removal was accepted", len(lost))
}

// swap moves the files of a database.
func swap(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range databaseFiles(t, from) {
		if err := os.Rename(file, filepath.Join(to, filepath.Base(file))); err != nil {
			t.Fatal(err)
		}
	}
}

func databaseFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "atoll.db*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
