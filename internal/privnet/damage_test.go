package privnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/privnet/bpf"
)

// scene is a switch in use: a client and a server under a policy, one whom it
// denies, and conversations without a break.
type scene struct {
	t                        *testing.T
	cfg                      Config
	log                      *lines
	s                        *Switch
	client, server, outsider *box
	policies                 []Policy
	tables                   map[string]ebpf.MapID
	tcp, udp                 net.Conn
	rounds                   atomic.Uint64
}

func newScene(t *testing.T) *scene {
	t.Helper()
	c := &scene{t: t, cfg: newConfig(t), log: &lines{}}
	c.cfg.Log = slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c.s = open(t, c.cfg)
	c.client, c.server, c.outsider = grouped(t, c.s, 1, "10.240.0.1", 11), grouped(t, c.s, 1, "10.240.0.2", 22), grouped(t, c.s, 1, "10.240.0.3", 33)
	c.server.echo(7000)
	c.policies = []Policy{{Network: 1, Mode: ModeEnforce, Rules: []Rule{{From: 11, To: 22, Port: 7000}}}}
	setPolicies(t, c.s, c.policies...)
	c.tables = tableIDs(t, c.s)
	for network, conn := range map[string]*net.Conn{"tcp4": &c.tcp, "udp4": &c.udp} {
		var err error
		if *conn, err = c.client.dial(network, 0, c.server.addr, 7000, patience); err != nil {
			t.Fatal(err)
		}
	}
	c.wantDenied("at first")
	return c
}

func (c *scene) endpoints() []Endpoint {
	return []Endpoint{c.client.endpoint(1), c.server.endpoint(1), c.outsider.endpoint(1)}
}

// talk keeps both conversations going until the result is called; a word that
// is not answered ends the test.
func (c *scene) talk() (stop func()) {
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-end:
				done <- nil
				return
			default:
			}
			if err := errors.Join(exchange(c.udp, "udp", patience), exchange(c.tcp, "tcp", patience)); err != nil {
				done <- err
				return
			}
			c.rounds.Add(1)
		}
	}()
	return func() {
		c.t.Helper()
		c.more()
		close(end)
		if err := <-done; err != nil {
			c.t.Errorf("after %d rounds: %v", c.rounds.Load(), err)
		}
	}
}

// more waits until words were exchanged.
func (c *scene) more() {
	c.t.Helper()
	goal := c.rounds.Load() + 5
	until(c.t, "the conversations to go on", func() bool { return c.rounds.Load() >= goal })
}

// wantDenied tries what the policy denies.
func (c *scene) wantDenied(when string) {
	c.t.Helper()
	before := drops(c.t, c.s)[PolicyDenied]
	conn, err := c.outsider.dial("udp4", 0, c.server.addr, 7000, patience)
	c.check(err)
	until(c.t, "a drop to be counted", func() bool {
		err = exchange(conn, "denied", quiet)
		return drops(c.t, c.s)[PolicyDenied] > before || !isTimeout(err)
	})
	if !isTimeout(err) {
		c.t.Errorf("%s, what the policy denies: %v", when, err)
	}
}

// wantKept closes the switch, opens it again, and looks whether it is the same.
func (c *scene) wantKept() {
	t := c.t
	t.Helper()
	if diff := cmp.Diff(c.tables, tableIDs(t, c.s)); diff != "" {
		t.Errorf("other tables are in use (-before +after):\n%s", diff)
	}
	known, denied := flow(t, c.s, TCP, 7000, Allowed), drops(t, c.s)[PolicyDenied]
	c.s.Close()
	c.log.take()
	c.s = open(t, c.cfg)
	c.more()
	if diff := cmp.Diff(c.tables, tableIDs(t, c.s)); diff != "" {
		t.Errorf("the next start has other tables (-before +after):\n%s", diff)
	}
	if d := compare(t, c.s, c.endpoints()...); !d.Empty() {
		t.Errorf("after a restart: %+v", d)
	}
	if got, err := c.s.Policies(context.Background()); err != nil || !cmp.Equal(got, c.policies) {
		t.Errorf("after a restart the policies are %+v, %v", got, err)
	}
	if f := flow(t, c.s, TCP, 7000, Allowed); f.Packets < known.Packets || known.Packets == 0 {
		t.Errorf("after a restart the flow is %+v, was %+v", f, known)
	}
	if got := drops(t, c.s)[PolicyDenied]; got < denied || denied == 0 {
		t.Errorf("after a restart %d drops are counted, before %d", got, denied)
	}
	setPolicies(t, c.s, c.policies...)
	c.wantDenied("after a restart")
	if log := c.log.take(); log != "" {
		t.Errorf("a start with everything in order said:\n%s", log)
	}
}

// enter runs a script in the switch namespace.
func (c *scene) enter(script string) {
	c.t.Helper()
	out, err := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), int(c.s.ns)), "sh", "-ec", script).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func (c *scene) pin(table string) string { return filepath.Join(pinDir(c.cfg.BPFFS), table) }

// pinned opens a table as another hand would, by its pin.
func (c *scene) pinned(table string) *ebpf.Map {
	c.t.Helper()
	m, err := ebpf.LoadPinnedMap(c.pin(table), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { m.Close() })
	return m
}

func (c *scene) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// What the switch lost while it ran is seen, put back with one line each, and
// nobody notices; the next start takes everything over.
func TestLostPiecesAreRestored(t *testing.T) {
	const rule = "policy of network 1"
	for name, tt := range map[string]struct {
		damage func(*scene)
		where  func(*scene) []string
		breaks bool // traffic stops until it is repaired
	}{
		"a pin": {damage: func(c *scene) { c.check(os.Remove(c.pin("pn_members"))) },
			where: func(c *scene) []string { return []string{c.pin("pn_members")} }},
		"the folder of pins": {damage: func(c *scene) { c.check(os.RemoveAll(pinDir(c.cfg.BPFFS))) },
			where: func(c *scene) (pins []string) {
				for name := range c.tables {
					pins = append(pins, c.pin(name))
				}
				return pins
			}},
		"a pin of another table": {damage: func(c *scene) {
			c.check(os.Remove(c.pin("pn_policies")))
			other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
			c.check(err)
			c.check(other.Pin(c.pin("pn_policies")))
			c.check(other.Close())
		}, where: func(c *scene) []string { return []string{c.pin("pn_policies")} }},
		"the BPF file system": {damage: func(c *scene) { c.check(unix.Unmount(c.cfg.BPFFS, unix.MNT_DETACH)) },
			where: func(c *scene) []string { return []string{c.cfg.BPFFS} }},
		"the folder of the BPF file system": {damage: func(c *scene) {
			c.check(unix.Unmount(c.cfg.BPFFS, unix.MNT_DETACH))
			c.check(os.Remove(c.cfg.BPFFS))
		}, where: func(c *scene) []string { return []string{c.cfg.BPFFS} }},
		"the namespace's binding": {damage: func(c *scene) { c.check(unix.Unmount(c.cfg.Netns, unix.MNT_DETACH)) },
			where: func(c *scene) []string { return []string{c.cfg.Netns} }},
		"the namespace's file": {damage: func(c *scene) {
			c.check(unix.Unmount(c.cfg.Netns, unix.MNT_DETACH))
			c.check(os.RemoveAll(filepath.Dir(c.cfg.Netns)))
		}, where: func(c *scene) []string { return []string{c.cfg.Netns} }},
		"another namespace in its place": {damage: func(c *scene) {
			c.check(unix.Unmount(c.cfg.Netns, unix.MNT_DETACH))
			for range 2 {
				c.check(unix.Mount(c.client.path, c.cfg.Netns, "", unix.MS_BIND, ""))
			}
		}, where: func(c *scene) []string { return []string{c.cfg.Netns} }},
		"forwarding": {damage: func(c *scene) { c.enter("echo 1 > /proc/sys/net/ipv4/ip_forward") },
			where: func(c *scene) []string {
				return []string{"switch:net/ipv4/ip_forward", "switch:net/ipv4/conf/all/forwarding", "switch:net/ipv4/conf/default/forwarding"}
			}},
		"IPv6": {damage: func(c *scene) { c.enter("echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6") },
			where: func(c *scene) []string {
				return []string{"switch:net/ipv6/conf/all/disable_ipv6", "switch:net/ipv6/conf/default/disable_ipv6"}
			}},
		"IPv6 of one port": {damage: func(c *scene) {
			c.enter("echo 0 > /proc/sys/net/ipv6/conf/" + hostName(c.client.endpoint(1).ID) + "/disable_ipv6")
		}, where: func(c *scene) []string {
			return []string{"switch:net/ipv6/conf/" + hostName(c.client.endpoint(1).ID) + "/disable_ipv6"}
		}},
		"a policy": {damage: func(c *scene) { c.check(c.pinned("pn_policies").Delete(uint32(1))) },
			where: func(*scene) []string { return []string{rule} }},
		"a policy's mode": {damage: func(c *scene) {
			var p bpf.SwitchPolicy
			c.check(c.pinned("pn_policies").Lookup(uint32(1), &p))
			p.Mode = uint32(ModeDryRun)
			c.check(c.pinned("pn_policies").Put(uint32(1), p))
		}, where: func(*scene) []string { return []string{rule} }},
		"a policy's rule": {damage: func(c *scene) { c.check(c.pinned("pn_rules").Delete(c.rule())) },
			where: func(*scene) []string { return []string{rule} }, breaks: true},
		"a rule too many": {damage: func(c *scene) {
			more := c.rule()
			more.From = 33
			c.check(c.pinned("pn_rules").Put(more, uint32(1)))
		}, where: func(*scene) []string { return []string{rule} }},
		"a policy of an open network": {damage: func(c *scene) {
			c.check(c.pinned("pn_policies").Put(uint32(2), bpf.SwitchPolicy{Id: 99, Mode: uint32(ModeEnforce)}))
		}, where: func(*scene) []string { return []string{"policy of network 2"} }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t)
			if d := compare(t, c.s, c.endpoints()...); !d.Empty() {
				t.Fatalf("at first: %+v", d)
			}
			stop := func() {}
			if !tt.breaks {
				stop = c.talk()
			}
			tt.damage(c)
			seen := compare(t, c.s, c.endpoints()...)
			var where []string
			for _, p := range seen.Pieces {
				where = append(where, p.Where)
			}
			if got, want := sorted(where), sorted(tt.where(c)); got != want || len(seen.Damaged)+len(seen.Missing)+len(seen.Strays)+seen.Entries > 0 {
				t.Errorf("compared: %+v\nwant %s", seen, want)
			}
			if again := compare(t, c.s, c.endpoints()...); !cmp.Equal(seen, again) {
				t.Errorf("comparing changed something: %+v, then %+v", seen, again)
			}
			report := set(t, c.s, c.endpoints()...)
			if diff := cmp.Diff(Report{Pieces: seen.Pieces}, report); diff != "" {
				t.Errorf("the report (-want +got):\n%s", diff)
			}
			if tt.breaks {
				stop = c.talk()
			}
			log := c.log.take()
			for _, p := range seen.Pieces {
				if !strings.Contains(log, "\"Repaired the switch\" where=\""+p.Where+"\"") && !strings.Contains(log, "\"Repaired the switch\" where="+p.Where+" ") {
					t.Errorf("no line about %+v:\n%s", p, log)
				}
			}
			if got := strings.Count(log, "\n"); got != len(seen.Pieces) {
				t.Errorf("%d lines, want %d:\n%s", got, len(seen.Pieces), log)
			}
			if d := compare(t, c.s, c.endpoints()...); !d.Empty() {
				t.Errorf("after Set: %+v", d)
			}
			if again := set(t, c.s, c.endpoints()...); again.Changed() {
				t.Errorf("a second time: %+v", again)
			}
			c.more()
			c.wantDenied("after Set")
			c.wantKept()
			stop()
		})
	}
}

// rule is the key of the scene's rule.
func (c *scene) rule() bpf.SwitchRuleKey {
	c.t.Helper()
	var p bpf.SwitchPolicy
	c.check(c.s.maps.policies.Lookup(uint32(1), &p))
	return ruleKey(p.Id, c.policies[0].Rules[0])
}

// What is lost and not yet restored when the process dies: the ports hold the
// tables, and the next start finds them there.
func TestPinsAreLostBetweenTwoStarts(t *testing.T) {
	for name, damage := range map[string]func(*scene){
		"a pin":               func(c *scene) { c.check(os.Remove(c.pin("pn_ports"))) },
		"the folder of pins":  func(c *scene) { c.check(os.RemoveAll(pinDir(c.cfg.BPFFS))) },
		"the BPF file system": func(c *scene) { c.check(unix.Unmount(c.cfg.BPFFS, unix.MNT_DETACH)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t)
			stop := c.talk()
			damage(c)
			c.s.Close()
			c.more()
			c.s = open(t, c.cfg)
			if log := c.log.take(); !strings.Contains(log, pinLost) {
				t.Errorf("the start did not say so:\n%s", log)
			}
			if r := set(t, c.s, c.endpoints()...); r.Changed() {
				t.Errorf("report %+v", r)
			}
			for _, p := range list(t, c.s) {
				if !p.Program || !p.Member {
					t.Errorf("the kernel holds %+v", p)
				}
			}
			c.more()
			c.wantKept()
			stop()
		})
	}
}

// Tables of another version are left to the programs that use them, until Set
// moves their ports over.
func TestPinsOfAnotherVersionAreLost(t *testing.T) {
	c := newScene(t)
	spec, err := bpf.LoadSwitch()
	c.check(err)
	tables := make(map[string]*ebpf.Map)
	for name, m := range c.s.maps.all() {
		tables[name] = *m
	}
	members, err := c.s.maps.allMembers()
	c.check(err)
	larger := spec.Maps[bpf.SwitchMapPnMembers]
	larger.ValueSize, larger.Value = larger.ValueSize+8, nil
	tables[larger.Name], err = newTable(larger)
	c.check(err)
	defer tables[larger.Name].Close()
	for key, m := range members {
		value := struct {
			bpf.SwitchMember
			More uint64
		}{m, 0}
		c.check(tables[larger.Name].Put(key, &value))
	}
	for name, m := range tables {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	programs := new(bpf.SwitchPrograms)
	c.check(spec.LoadAndAssign(programs, &ebpf.CollectionOptions{MapReplacements: tables}))
	defer programs.Close()
	links, err := c.s.hostEnds()
	c.check(err)
	for _, l := range links {
		c.check(attachFilter(c.s.links, l, programs.SwitchFrame))
	}
	stop := c.talk()
	c.check(os.RemoveAll(pinDir(c.cfg.BPFFS)))
	c.s.Close()
	c.s = open(t, c.cfg)
	stop()
	setPolicies(t, c.s, c.policies...)
	if r := set(t, c.s, c.endpoints()...); len(r.Repaired) != 3 || len(r.Attached)+len(r.Removed) > 0 {
		t.Errorf("report %+v", r)
	}
	defer c.talk()() // the same conversations
	if d := compare(t, c.s, c.endpoints()...); !d.Empty() {
		t.Errorf("after Set: %+v", d)
	}
}

// A namespace nobody held any more took its ports along: they are made anew.
func TestNamespaceIsLostBetweenTwoStarts(t *testing.T) {
	c := newScene(t)
	c.check(unix.Unmount(c.cfg.Netns, unix.MNT_DETACH))
	c.s.Close()
	until(t, "the ports to go with their namespace", func() bool {
		return c.client.try(func() error { _, err := netlink.LinkByName(Interface); return err }) != nil
	})
	c.s = open(t, c.cfg)
	if log := c.log.take(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "a new one was made") {
		t.Errorf("the start said:\n%s", log)
	}
	if r := set(t, c.s, c.endpoints()...); len(r.Attached) != 3 || len(r.Removed)+len(r.Repaired)+len(r.Pieces) > 0 {
		t.Errorf("report %+v", r)
	}
	defer c.talk()() // the same conversations
	c.wantDenied("after Set")
	c.wantKept()
}

// Programs and filters of others at a port are seen and removed, wherever the
// kernel runs them.
func TestForeignProgramsAreRemoved(t *testing.T) {
	filter := func(c *scene, handle uint32, priority uint16, parent uint32) {
		host, err := c.s.links.LinkByName(hostName(c.client.endpoint(1).ID))
		c.check(err)
		c.check(c.s.links.FilterReplace(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: host.Attrs().Index, Parent: parent, Handle: handle, Priority: priority, Protocol: unix.ETH_P_ALL},
			Fd:          dropAll(t, ebpf.SchedCLS).FD(), Name: "foreign", DirectAction: true,
		}))
	}
	port := func(c *scene) string { return hostName(c.client.endpoint(1).ID) }
	for name, tt := range map[string]struct {
		damage   func(*scene)
		harmless bool
	}{
		"none":           {damage: func(c *scene) { c.enter("tc qdisc del dev " + port(c) + " clsact") }},
		"in its place":   {damage: func(c *scene) { filter(c, filterHandle, filterPriority, netlink.HANDLE_MIN_INGRESS) }},
		"before it":      {damage: func(c *scene) { filter(c, 2, filterPriority, netlink.HANDLE_MIN_INGRESS) }},
		"after it":       {damage: func(c *scene) { filter(c, 1, 2, netlink.HANDLE_MIN_INGRESS) }, harmless: true},
		"on the way out": {damage: func(c *scene) { filter(c, 1, 1, netlink.HANDLE_MIN_EGRESS) }, harmless: true}, // but for ARP
		"of another kind": {damage: func(c *scene) {
			c.enter("tc qdisc del dev " + port(c) + " clsact; tc qdisc add dev " + port(c) + " clsact; tc filter add dev " + port(c) + " ingress prio 1 protocol all u32 match u32 0 0")
		}},
		"in an ingress qdisc": {damage: func(c *scene) {
			c.enter("tc qdisc del dev " + port(c) + " clsact; tc qdisc add dev " + port(c) + " ingress")
		}},
		"TCX": {damage: func(c *scene) {
			var l link.Link
			c.s.within(c.t, func() error {
				host, err := netlink.LinkByName(port(c))
				if err != nil {
					return err
				}
				l, err = link.AttachTCX(link.TCXOptions{Interface: host.Attrs().Index, Program: dropAll(c.t, ebpf.SchedCLS), Attach: ebpf.AttachTCXIngress})
				if errors.Is(err, ebpf.ErrNotSupported) {
					return nil
				}
				return err
			})
			if l == nil {
				c.t.Skip("the kernel has no TCX (it came with 6.6)")
			}
			c.t.Cleanup(func() { l.Close() })
		}},
		"XDP": {damage: func(c *scene) {
			c.s.within(c.t, func() error {
				host, err := netlink.LinkByName(port(c))
				if err != nil {
					return err
				}
				return netlink.LinkSetXdpFdWithFlags(host, dropAll(c.t, ebpf.XDP).FD(), unix.XDP_FLAGS_SKB_MODE)
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t)
			c.check(exchange(c.udp, "before", patience))
			tt.damage(c)
			if err := exchange(c.udp, "meanwhile", quiet); (err == nil) != tt.harmless {
				t.Errorf("the test proves nothing: %v", err)
			}
			seen := compare(t, c.s, c.endpoints()...)
			if want := (Difference{Damaged: []string{c.client.endpoint(1).ID}}); !cmp.Equal(seen, want) {
				t.Errorf("compared: %+v, want %+v", seen, want)
			}
			if again := compare(t, c.s, c.endpoints()...); !cmp.Equal(seen, again) {
				t.Errorf("comparing changed something: %+v, then %+v", seen, again)
			}
			if r := set(t, c.s, c.endpoints()...); !cmp.Equal(r, Report{Repaired: seen.Damaged}) {
				t.Errorf("report %+v", r)
			}
			defer c.talk()()
			if d := compare(t, c.s, c.endpoints()...); !d.Empty() {
				t.Errorf("after Set: %+v", d)
			}
			c.wantKept()
		})
	}
}

// dropAll is somebody else's program, which drops everything.
func dropAll(t *testing.T, kind ebpf.ProgramType) *ebpf.Program {
	t.Helper()
	verdict := map[ebpf.ProgramType]int32{ebpf.SchedCLS: 2 /* TC_ACT_SHOT */, ebpf.XDP: 1 /* XDP_DROP */}[kind]
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: kind, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// Entries of the ports that another hand changed are put right.
func TestEntriesOfPortsAreRepaired(t *testing.T) {
	for name, damage := range map[string]func(c *scene, index uint32, member bpf.SwitchMemberKey){
		"no port":   func(c *scene, index uint32, _ bpf.SwitchMemberKey) { c.check(c.pinned("pn_ports").Delete(index)) },
		"no member": func(c *scene, _ uint32, m bpf.SwitchMemberKey) { c.check(c.pinned("pn_members").Delete(m)) },
		"a port of another network": func(c *scene, index uint32, _ bpf.SwitchMemberKey) {
			var p bpf.SwitchPort
			c.check(c.pinned("pn_ports").Lookup(index, &p))
			p.Network = 2
			c.check(c.pinned("pn_ports").Put(index, p))
		},
		"a member of another group": func(c *scene, _ uint32, key bpf.SwitchMemberKey) {
			var m bpf.SwitchMember
			c.check(c.pinned("pn_members").Lookup(key, &m))
			m.Group = 44
			c.check(c.pinned("pn_members").Put(key, m))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newScene(t)
			c.check(exchange(c.tcp, "before", patience))
			host, err := c.s.links.LinkByName(hostName(c.server.endpoint(1).ID))
			c.check(err)
			damage(c, uint32(host.Attrs().Index), bpf.SwitchMemberKey{Network: 1, Addr: addrWord(c.server.addr)})
			if err := exchange(c.udp, "meanwhile", quiet); !isTimeout(err) {
				t.Errorf("the test proves nothing: %v", err)
			}
			if d := compare(t, c.s, c.endpoints()...); len(d.Damaged) != 1 || len(d.Strays)+len(d.Missing)+len(d.Pieces) > 0 {
				t.Errorf("compared: %+v", d)
			}
			if r := set(t, c.s, c.endpoints()...); len(r.Repaired) != 1 || len(r.Attached)+len(r.Pieces) > 0 {
				t.Errorf("report %+v", r)
			}
			defer c.talk()() // the same conversations
			if d := compare(t, c.s, c.endpoints()...); !d.Empty() {
				t.Errorf("after Set: %+v", d)
			}
			c.wantKept()
		})
	}
	t.Run("a member too many", func(t *testing.T) {
		c := newScene(t)
		host, err := c.s.links.LinkByName(hostName(c.server.endpoint(1).ID))
		c.check(err)
		c.check(c.pinned("pn_members").Put(bpf.SwitchMemberKey{Network: 2, Addr: addrWord(c.server.addr)}, bpf.SwitchMember{Ifindex: uint32(host.Attrs().Index)}))
		defer c.talk()()
		if d := compare(t, c.s, c.endpoints()...); !cmp.Equal(d, Difference{Entries: 1}) {
			t.Errorf("compared: %+v", d)
		}
		if r := set(t, c.s, c.endpoints()...); !cmp.Equal(r, Report{Entries: 1}) {
			t.Errorf("report %+v", r)
		}
		c.wantKept()
	})
}

// tableIDs returns which tables a switch uses.
func tableIDs(t *testing.T, s *Switch) map[string]ebpf.MapID {
	t.Helper()
	ids := make(map[string]ebpf.MapID)
	for name, m := range s.maps.all() {
		info, err := (*m).Info()
		if err != nil {
			t.Fatal(err)
		}
		id, known := info.ID()
		if !known {
			t.Fatalf("%s has no id", name)
		}
		ids[name] = id
	}
	return ids
}

// lines is a log to look at.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what was written since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}
