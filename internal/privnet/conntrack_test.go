package privnet

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/namespace"
)

// Private traffic must not meet the node's firewall: with a bridge and
// br_netfilter it enters the node's connection tracking, where connections of
// two networks with equal addresses and ports become one.
func TestNoConnectionTracking(t *testing.T) {
	s := open(t, newConfig(t))
	a, b := member(t, s, 1, "10.240.0.1"), member(t, s, 1, "10.240.0.2")
	b.answer("b")
	outer := currentNamespace(t)
	trackConnections(t, outer)
	trackConnections(t, s.ns)

	if got, err := a.ask(b.addr, patience); got != "b" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	for name, ns := range map[string]netns.NsHandle{"server's": outer, "switch": s.ns} {
		if got := tracked(t, ns); len(got) != 0 {
			t.Errorf("in the %s namespace: %v", name, got)
		}
	}

	t.Run("twin: a bridge", func(t *testing.T) {
		const sysctl = "net/bridge/bridge-nf-call-iptables"
		if _, err := os.Stat("/proc/sys/" + sysctl); err != nil {
			t.Skip("this kernel has no br_netfilter loaded, so a bridge would not be tracked either")
		}
		node := newBox(t)
		node.do(func() error { return new(namespace.Settings).Set(sysctl, "1") })
		ns, err := netns.GetFromPath(node.path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Close() })
		trackConnections(t, ns)
		c, d := onBridge(t, ns)
		d.answer("d")
		if got, err := c.ask(d.addr, patience); got != "d" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if got := tracked(t, ns); len(got) == 0 {
			t.Error("a bridge was not tracked: this test would not notice if the switch were")
		}
	})
}

func currentNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	ns, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// trackConnections adds a rule that looks at a connection's state, which makes
// the kernel track the connections of the namespace.
func trackConnections(t *testing.T, ns netns.NsHandle) {
	t.Helper()
	nft := func(script string) error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		var said []byte
		err := namespace.Do(ns, func() (err error) {
			said, err = cmd.CombinedOutput()
			return err
		})
		if err != nil {
			return fmt.Errorf("nft: %w: %s", err, said)
		}
		return nil
	}
	if err := nft(`table ip track {
		chain prerouting { type filter hook prerouting priority filter; ct state new counter; }
		chain forward { type filter hook forward priority filter; ct state new counter; }
	}`); err != nil {
		t.Fatalf("cannot make the namespace track connections: %v", err)
	}
	t.Cleanup(func() { _ = nft("delete table ip track") }) // the switch namespace may be gone
}

// tracked returns the connections within private networks that a namespace
// tracks.
func tracked(t *testing.T, ns netns.NsHandle) (found []string) {
	t.Helper()
	err := namespace.Do(ns, func() error {
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		for _, f := range flows {
			if Prefix.Addr().AsSlice()[0] == f.Forward.SrcIP.To4()[0] {
				found = append(found, f.String())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// onBridge makes two containers on an ordinary bridge in a namespace.
func onBridge(t *testing.T, ns netns.NsHandle) (c, d *box) {
	t.Helper()
	handle, err := handleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "twin"
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	check(handle.LinkAdd(bridge))
	t.Cleanup(func() {
		if handle, err := handleAt(ns); err == nil {
			handle.LinkDel(bridge)
			handle.Close()
		}
	})
	check(handle.LinkSetUp(bridge))
	join := func(name string, last byte) *box {
		b := newBox(t)
		inside, err := netns.GetFromPath(b.path)
		check(err)
		defer inside.Close()
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MasterIndex = name, bridge.Index
		veth := netlink.NewVeth(attrs)
		veth.PeerName, veth.PeerNamespace = Interface, netlink.NsFd(int(inside))
		check(handle.LinkAdd(veth))
		check(handle.LinkSetUp(veth))
		b.addr = FirstAddr
		for range last - 1 {
			b.addr = b.addr.Next()
		}
		b.do(func() error {
			link, err := netlink.LinkByName(Interface)
			if err != nil {
				return err
			}
			err = netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: b.addr.AsSlice(), Mask: net.CIDRMask(22, 32)}})
			if err != nil {
				return err
			}
			return netlink.LinkSetUp(link)
		})
		return b
	}
	return join("twin1", 1), join("twin2", 2)
}
