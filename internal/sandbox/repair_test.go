package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/sandbox"
)

// inhabit starts a process in a box, as a container has one.
func (b box) inhabit() {
	b.t.Helper()
	cmd := exec.Command("nsenter", "--net="+b.NetnsPath, "sleep", "1000")
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var box, process unix.Stat_t
	lab.WaitFor(b.t, 10*time.Second, "a process in the namespace", func() (bool, error) {
		return true, errors.Join(unix.Stat(b.NetnsPath, &box), unix.Stat(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid), &process))
	})
	lab.WaitFor(b.t, 10*time.Second, "the process to be in the namespace", func() (bool, error) {
		err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid), &process)
		return process.Ino == box.Ino, err
	})
}

// repair looks once. running are the containers the engine has; "-" before an
// id says that no process of it runs.
func (m *machine) repair(accept bool, running ...string) (r sandbox.Report) {
	m.t.Helper()
	containers := map[string]bool{}
	for _, id := range running {
		stopped := strings.HasPrefix(id, "-")
		containers[strings.TrimPrefix(id, "-")] = !stopped
	}
	m.on(func() (err error) {
		r, err = m.manager.Repair(m.t.Context(), sandbox.Options{Containers: func() map[string]bool { return containers }, Accept: accept})
		return err
	})
	return r
}

func (m *machine) wantHealthy(running ...string) {
	m.t.Helper()
	if r := m.repair(false, running...); len(r.Repaired)+len(r.Removed)+len(r.Failed)+len(r.Refused) > 0 {
		m.t.Errorf("found something to do in what is in order: %+v", r)
	}
}

func TestWhatIsBrokenIsRepairedWhileTrafficGoesOn(t *testing.T) {
	m := newMachine(t)
	a, b, c := m.container("a", 1, 8080), m.container("b", 1, 0), m.container("c", 2, 0)
	for _, x := range []box{a, b, c} {
		x.inhabit()
		m.listen(x.NetnsPath, "0.0.0.0:8080", x.InstanceID)
	}
	switchNS := filepath.Join(m.lab.Dir(), "netns", "switch")
	pn := func(x box) string {
		return strings.Fields(m.run(switchNS, "ip -o link | grep 'alias "+x.InstanceID+"$' | cut -d: -f2 | cut -d@ -f1"))[0]
	}
	private, in := func() bool { return m.ask(a.NetnsPath, "", b.PrivateAddr.String()+":8080") == "b" },
		func() bool { return m.ask(m.lab.Server().Path(), "", a.OutsideAddr.String()+":8080") == "a" }
	// Hole of DESIGN.md: an address on any interface is answered for.
	leak := func() bool {
		return strings.Contains(m.run(b.NetnsPath, "cat /proc/sys/net/ipv4/conf/all/arp_ignore"), "0")
	}
	for _, tt := range []struct {
		name, netns, script string
		works               func() bool // and does not while it is broken
		open                bool        // works is true because it is broken
	}{
		{"an emptied firewall", m.lab.Server().Path(), "nft flush ruleset", func() bool { return m.ask(m.lab.Server().Path(), "", b.OutsideAddr.String()+":8080") == "b" }, true},
		{"a deleted bridge port", m.lab.Server().Path(), "ip link del " + strings.Fields(m.run(m.lab.Server().Path(), "ip -o link | grep 'alias a$' | cut -d: -f2 | cut -d@ -f1"))[0], in, false},
		{"a deleted qdisc", switchNS, "tc qdisc del dev " + pn(a) + " clsact", private, false},
		{"a removed private interface", a.NetnsPath, "ip link del pn0", private, false},
		{"another private address", a.NetnsPath, "ip addr flush dev pn0; ip addr add 10.240.3.3/32 dev pn0", private, false},
		{"a removed private route", a.NetnsPath, "ip route del 10.240.0.0/22", private, false},
		{"a private interface that is down", b.NetnsPath, "ip link set pn0 down", private, false},
		{"a wrong setting", b.NetnsPath, "echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore", leak, true},
		{"a lost pin of the switch", m.lab.Server().Path(), "rm " + filepath.Join(m.lab.BPFFS(), "privnet", "pn_members"), nil, false},
		{"no BPF file system", m.lab.Server().Path(), "umount -l " + m.lab.BPFFS(), nil, false},
		{"a switch namespace that is not bound", m.lab.Server().Path(), "umount -l " + switchNS + "; rm " + switchNS, nil, false},
		{"a setting of the switch", switchNS, "echo 1 > /proc/sys/net/ipv4/ip_forward", nil, false},
		{"no loopback and IPv6", b.NetnsPath, "ip link set lo down; echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m.t = t
			m.wantHealthy("a", "b", "c")
			m.run(tt.netns, tt.script)
			if tt.works != nil && tt.works() != tt.open {
				t.Error("the test proves nothing: the damage does no harm")
			}
			if r := m.repair(false, "a", "b", "c"); len(r.Repaired) == 0 || slices.ContainsFunc(r.Removed, ofContainer) || len(r.Refused)+len(r.Failed) > 0 {
				t.Errorf("report is %+v, want repairs only", r)
			}
			if tt.open && tt.works() {
				t.Error("the hole is open still")
			}
			m.wantAnswer(a.NetnsPath, "", b.PrivateAddr.String()+":8080", "b")
			m.wantAnswer(m.lab.Server().Path(), "", a.OutsideAddr.String()+":8080", "a")
			m.wantSilence(m.lab.Server().Path(), "", b.OutsideAddr.String()+":8080")
			m.wantSilence(c.NetnsPath, "", b.PrivateAddr.String()+":8080")
			m.wantHealthy("a", "b", "c")
		})
	}
	m.t = t
	log := m.log.String()
	for _, line := range []string{"\"Repaired a container's network\" container=b", "\"Repaired the switch\" where=" + switchNS} {
		if !strings.Contains(log, "level=WARN msg="+line) {
			t.Errorf("the log does not name %s:\n%s", line, log)
		}
	}
	m.open() // with what was made anew
	m.restore("a", "b", "c")
	m.wantAnswer(a.NetnsPath, "", b.PrivateAddr.String()+":8080", "b")
	m.wantHealthy("a", "b", "c")
}

// ofContainer leaves out entries of the switch whose interface was removed.
func ofContainer(f sandbox.Finding) bool { return f.Container != "" }

func TestANamespaceThatIsNotBoundAnyMore(t *testing.T) {
	m := newMachine(t)
	a, b := m.container("a", 1, 8080), m.container("b", 1, 8080)
	a.inhabit()
	for _, x := range []box{a, b} {
		m.listen(x.NetnsPath, "0.0.0.0:8080", x.InstanceID)
	}
	before, parent := inode(t, a.NetnsPath), t

	t.Run("a process is in it", func(t *testing.T) {
		m.t = t
		unbind(t, a)
		if r := m.repair(false, "a", "-b"); len(r.Repaired) != 1 || len(r.Failed) > 0 {
			t.Errorf("report is %+v, want one repair", r)
		}
		if now := inode(t, a.NetnsPath); now != before {
			t.Errorf("namespace %d is bound, want %d", now, before)
		}
		m.wantAnswer(b.NetnsPath, "", a.PrivateAddr.String()+":8080", "a")
		m.wantHealthy("a", "-b")
		m.t = parent
	})
	t.Run("a process is in it, at a start", func(t *testing.T) {
		unbind(t, a)
		m.open() // for the tests that follow, too
		m.t = t
		m.restore("a", "b")
		if now := inode(t, a.NetnsPath); now != before {
			t.Errorf("namespace %d is bound, want %d", now, before)
		}
		m.wantAnswer(b.NetnsPath, "", a.PrivateAddr.String()+":8080", "a")
		m.wantHealthy("a", "-b")
	})
	t.Run("somebody may be in it, but where", func(t *testing.T) {
		m.t = t
		unbind(t, a)
		m.run(m.lab.Server().Path(), "ip link del "+strings.Fields(m.run(m.lab.Server().Path(), "ip -o link | grep 'alias a$' | cut -d: -f2 | cut -d@ -f1"))[0])
		var r sandbox.Report
		err := lab.Do(m.lab.Server(), func() (err error) {
			r, err = m.manager.Repair(t.Context(), sandbox.Options{Containers: func() map[string]bool { return map[string]bool{"a": true, "b": false} }})
			return err
		})
		if err == nil || len(r.Failed) == 0 || !strings.Contains(r.Failed[0].What, "restart its app") {
			t.Errorf("report is %+v (%v), want a failure that says what to do", r, err)
		}
		if isBound(a.NetnsPath) {
			t.Error("another namespace was bound in its place, although a process lives in the old one")
		}
	})
	t.Run("nobody is in it", func(t *testing.T) {
		m.t = t
		unbind(t, b)
		m.run(m.lab.Server().Path(), "ip link del "+strings.Fields(m.run(m.lab.Server().Path(), "ip -o link | grep 'alias b$' | cut -d: -f2 | cut -d@ -f1"))[0])
		var r sandbox.Report
		err := lab.Do(m.lab.Server(), func() (err error) {
			r, err = m.manager.Repair(t.Context(), sandbox.Options{Containers: func() map[string]bool { return map[string]bool{"a": true, "b": false} }})
			return err
		})
		if err == nil || !isBound(b.NetnsPath) {
			t.Fatalf("no namespace was made, or the other container's is said to be there: %+v (%v)", r, err)
		}
		again := m.container("b", 1, 8080)
		if again.Sandbox != b.Sandbox {
			t.Errorf("the sandbox is %+v, was %+v", again.Sandbox, b.Sandbox)
		}
		m.listen(b.NetnsPath, "0.0.0.0:8080", "b again")
		m.wantAnswer(m.lab.Server().Path(), "", b.OutsideAddr.String()+":8080", "b again")
	})
}

func TestDamagedNotesKeepNobodyDown(t *testing.T) {
	m := newMachine(t)
	whole, damaged, misplaced, gone := m.container("whole", 1, 8080), m.container("damaged", 1, 8080), m.container("misplaced", 1, 8080), m.container("gone", 1, 8080)
	for _, x := range []box{whole, damaged, misplaced, gone} {
		x.inhabit()
		m.listen(x.NetnsPath, "0.0.0.0:8080", x.InstanceID)
	}
	note := func(id string) string { return filepath.Join(m.lab.Dir(), "sandboxes", id+".json") }
	write := func(id, text string) {
		t.Helper()
		if err := os.WriteFile(note(id), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("damaged", "{")
	write("misplaced", strings.Replace(string(read(t, note("misplaced"))), misplaced.OutsideAddr.String(), "192.0.2.1", 1))
	write("stranger", `{"InstanceID":"else"}`)
	if err := os.Remove(note("gone")); err != nil {
		t.Fatal(err)
	}
	m.open()
	m.on(func() error {
		return m.manager.Restore(t.Context(), []sandbox.Sandbox{whole.Sandbox, damaged.Sandbox, misplaced.Sandbox, gone.Sandbox}, false)
	})
	for _, x := range []box{whole, damaged, misplaced, gone} {
		m.wantAnswer(m.lab.Server().Path(), "", x.OutsideAddr.String()+":8080", x.InstanceID)
		m.wantAnswer(whole.NetnsPath, "", x.PrivateAddr.String()+":8080", x.InstanceID)
		if again := m.container(x.InstanceID, 1, 8080); again.Sandbox != x.Sandbox {
			t.Errorf("%s is %+v, was %+v", x.InstanceID, again.Sandbox, x.Sandbox)
		}
	}
	for _, id := range []string{"damaged", "misplaced", "stranger"} {
		if _, err := os.Stat(strings.TrimSuffix(note(id), ".json") + ".damaged"); err != nil {
			t.Errorf("the note was not set aside: %v", err)
		}
		if log := m.log.String(); !strings.Contains(log, "container="+id+" file=") {
			t.Errorf("nothing is logged of the note of %s:\n%s", id, log)
		}
	}
	// While the server runs, notes are written again.
	write("damaged", "[]")
	if err := os.Remove(note("whole")); err != nil {
		t.Fatal(err)
	}
	all := []string{"whole", "damaged", "misplaced", "gone"}
	if r := m.repair(false, all...); len(r.Repaired) != 2 {
		t.Errorf("report is %+v, want two notes repaired", r)
	}
	m.wantHealthy(all...)
}

// What looks as if nearly everything is to go is more likely a mistake.
func TestAMassRemovalIsRefused(t *testing.T) {
	for _, lost := range []string{"the engine's list", "the engine's list and the notes"} {
		t.Run(lost, func(t *testing.T) {
			m := newMachine(t)
			a, b, other := m.container("a", 1, 8080), m.container("b", 1, 0), m.container("other", 2, 0)
			for _, x := range []box{a, b, other} {
				x.inhabit()
				m.listen(x.NetnsPath, "0.0.0.0:8080", x.InstanceID)
			}
			m.container("idle", 1, 0) // nobody is in it
			if strings.HasSuffix(lost, "notes") {
				if err := os.RemoveAll(filepath.Join(m.lab.Dir(), "sandboxes")); err != nil {
					t.Fatal(err)
				}
			}
			works := func() {
				t.Helper()
				m.wantAnswer(a.NetnsPath, "", b.PrivateAddr.String()+":8080", "b")
				m.wantAnswer(m.lab.Server().Path(), "", a.OutsideAddr.String()+":8080", "a")
				m.wantSilence(other.NetnsPath, "", b.PrivateAddr.String()+":8080")
				m.wantSilence(m.lab.Server().Path(), "", b.OutsideAddr.String()+":8080")
			}
			m.open()
			m.restore()
			works()
			if log := m.log.String(); !strings.Contains(log, "REFUSED") || !strings.Contains(log, "3 of the 3 containers of this machine") || !strings.Contains(log, "--accept-removal") {
				t.Errorf("the log says\n%s", log)
			}
			for range 3 {
				if r := m.repair(false); len(r.Refused) != 1 || len(r.Refused[0].Containers) != 3 || len(r.Removed) != 0 {
					t.Errorf("report is %+v, want one refusal", r)
				}
			}
			works()
			if n := strings.Count(m.log.String(), "REFUSED"); n != 1 {
				t.Errorf("logged %d times", n)
			}
			if _, err := os.Stat(filepath.Join(m.lab.Dir(), "netns", "containers", "idle")); err == nil {
				t.Error("what nobody is in stayed")
			}
			// As many new containers come as were lost. They get none of the
			// addresses, and do not outvote those that nobody gave up.
			var next []string
			for i, lost := range []box{a, b, other} {
				id := fmt.Sprintf("next%d", i)
				fresh := m.container(id, lost.Network.Key, 0)
				fresh.inhabit()
				next = append(next, id)
				for _, x := range []box{a, b, other} {
					if fresh.OutsideAddr == x.OutsideAddr || fresh.Network == x.Network && fresh.PrivateAddr == x.PrivateAddr {
						t.Errorf("a new container got %s and %s", fresh.PrivateAddr, fresh.OutsideAddr)
					}
				}
			}
			stillRefused := func() {
				t.Helper()
				r := m.repair(false, next...)
				var held []string
				for _, refused := range r.Refused {
					held = append(held, refused.Containers...)
				}
				if slices.Sort(held); !slices.Equal(held, []string{"a", "b", "other"}) || len(r.Removed)+len(r.Repaired)+len(r.Failed) != 0 {
					t.Errorf("report is %+v, want the three refused still", r)
				}
				works()
			}
			stillRefused()
			if n := strings.Count(m.log.String(), "REFUSED"); n != 1 {
				t.Errorf("logged %d times that the same containers stay", n)
			}
			m.open()
			m.restore(next...)
			works()
			stillRefused()
			// One of them is known again: it is a container like any other.
			m.open()
			m.restore(append(next, "other")...)
			if list := m.manager.List(); !slices.ContainsFunc(list, func(s sandbox.Sandbox) bool { return s.InstanceID == "other" && !s.Held }) {
				t.Errorf("the sandboxes are %+v", list)
			}
			next = append(next, "other")
			if r := m.repair(false, next...); len(r.Refused) != 1 || len(r.Refused[0].Containers) != 2 || r.Refused[0].Of != 4 || len(r.Removed)+len(r.Repaired) != 0 {
				t.Errorf("report is %+v, want two of four of the network refused", r)
			}
			// Others are judged without the held ones.
			if r := m.repair(false, "next0", "next2", "other"); len(r.Removed) != 1 || r.Removed[0].Container != "next1" {
				t.Errorf("report is %+v, want the one of two removed", r)
			}
			works()
			// Somebody decides.
			next = []string{"next0", "next2", "other"}
			if r := m.repair(true, next...); len(r.Removed) != 2 || len(r.Refused) != 0 {
				t.Errorf("report is %+v, want two removals", r)
			}
			m.wantHealthy(next...)
			if got := len(m.manager.List()); got != 3 {
				t.Errorf("%d sandboxes are left, want those of the engine's containers", got)
			}
		})
	}
}

// A key that containers of another network have would make the two one.
func TestAKeyOfAnotherNetworkIsRefused(t *testing.T) {
	m := newMachine(t)
	m.container("a", 1, 0)
	m.on(func() error {
		r := request("b", 1, 0)
		r.Network.ID = "pn-of-another-database"
		if s, err := m.manager.Setup(t.Context(), r); err == nil || !strings.Contains(err.Error(), "pn-1") {
			t.Errorf("the sandbox is %+v (%v), want an error that names the network", s, err)
		}
		return nil
	})
	m.wantHealthy("a")
}

func TestRemovalsThatAreFewOrConcernNobody(t *testing.T) {
	m := newMachine(t)
	stay := []box{m.container("a", 1, 0), m.container("b", 1, 0)}
	stray := m.container("stray", 1, 0)
	for _, x := range append(stay, stray) {
		x.inhabit()
	}
	for i := range 5 {
		m.container(fmt.Sprintf("idle%d", i), 1, 0)
	}
	r := m.repair(false, "a", "b")
	if len(r.Removed) != 6 || len(r.Refused) != 0 {
		t.Errorf("report is %+v, want the stray and five idle ones removed", r)
	}
	if !strings.Contains(m.log.String(), "Removed a stray network") || !strings.Contains(fmt.Sprint(r), "were in it") {
		t.Errorf("not said who was in the stray's namespace: %+v", r)
	}
	m.wantHealthy("a", "b")
	// Of two, one is half and no mass; of one, it is all.
	if r := m.repair(false, "a"); len(r.Removed) != 1 || len(r.Refused) != 0 {
		t.Errorf("report is %+v, want one removal", r)
	}
	if r := m.repair(false); len(r.Removed) != 0 || len(r.Refused) != 1 {
		t.Errorf("report is %+v, want a refusal", r)
	}
}

// A look at a machine in order is cheap and touches nothing.
func TestALookAtAHundredContainers(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a hundred sandboxes")
	}
	m := newMachine(t)
	var ids []string
	for i := range 100 {
		id := fmt.Sprintf("c%d", i)
		m.container(id, uint32(i%7+1), 8080)
		ids = append(ids, id)
	}
	state := func() string {
		return m.run(m.lab.Server().Path(), "nft -s -t -a list ruleset; bridge -d link; ip addr") + m.run(filepath.Join(m.lab.Dir(), "netns", "switch"), "ip -o link | sort")
	}
	var before string
	lab.WaitFor(t, 10*time.Second, "the kernel to say that all links are up", func() (bool, error) {
		before = state()
		return !strings.Contains(before, "NO-CARRIER"), nil
	})
	m.wantHealthy(ids...)
	const looks = 5
	began, cpu := time.Now(), cpuTime(t)
	for range looks {
		m.wantHealthy(ids...)
	}
	t.Logf("a look at 100 containers: %v of CPU, %v in all", (cpuTime(t)-cpu)/looks, time.Since(began)/looks)
	if now := state(); now != before {
		t.Errorf("it changed from\n%s\nto\n%s", before, now)
	}
}

// cpuTime is what this process and the programs it ran have used.
func cpuTime(t *testing.T) (sum time.Duration) {
	t.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

func unbind(t *testing.T, b box) {
	t.Helper()
	if err := unix.Unmount(b.NetnsPath, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
}

func isBound(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || !isBound(path) {
		t.Fatalf("%s is no namespace (%v)", path, err)
	}
	return st.Ino
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
