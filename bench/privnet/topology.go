package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/bench/ratio"
	"github.com/atollhq/atoll/internal/privnet"
)

// path is a way between two namespaces, each with one of the addresses.
type path struct {
	name string
	a, b string // paths of the namespaces
}

var addrA, addrB = netip.MustParseAddr("10.240.0.1"), netip.MustParseAddr("10.240.0.2")

// peers compares Atoll with what else there is.
func peers(dir string, rounds int, length time.Duration) ([]*ratio.Series, error) {
	var paths []path
	for _, make := range []func(string) (path, error){
		func(dir string) (path, error) { return atoll(dir, "atoll", privnet.Config{}, privnet.Policy{}) },
		plainBridge, dockerLike, rawVeth,
	} {
		p, err := make(dir)
		if errors.Is(err, errNotFiltered) {
			fmt.Fprintf(os.Stderr, "bench/privnet: without the %s: %v\n", p.name, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot build the path %s: %w", p.name, err)
		}
		paths = append(paths, p)
	}
	return against(paths[0], paths[1:], rounds, length)
}

// The groups of the two ends.
const groupA, groupB = 1, 2

// atoll makes a switch with two members, under a policy if that names their
// network.
func atoll(dir, name string, cfg privnet.Config, policy privnet.Policy) (path, error) {
	p, err := ends(dir, name)
	if err != nil {
		return p, err
	}
	sw, err := openSwitch(dir, name, cfg)
	if err != nil {
		return p, err
	}
	for _, e := range []privnet.Endpoint{
		{ID: "a", Network: 1, Addr: addrA, Group: groupA, ContainerNetns: p.a},
		{ID: "b", Network: 1, Addr: addrB, Group: groupB, ContainerNetns: p.b},
	} {
		if err := sw.Attach(context.Background(), e); err != nil {
			return p, err
		}
	}
	if policy.Network != 0 {
		err = sw.SetPolicies(context.Background(), []privnet.Policy{policy})
	}
	return p, err
}

func openSwitch(dir, name string, cfg privnet.Config) (*privnet.Switch, error) {
	base := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+"-switch")
	cfg.Netns, cfg.BPFFS = filepath.Join(base, "netns"), filepath.Join(base, "bpf")
	return privnet.Open(cfg)
}

func plainBridge(dir string) (path, error) { return bridge(dir, "plain bridge", "") }

// dockerLike is a bridge as Docker leaves it: bridged packets go through the
// host's IP hooks and connection tracking, and through rules like these.
func dockerLike(dir string) (path, error) {
	return bridge(dir, "Docker-like bridge", `
table ip filter {
	chain DOCKER-USER { return; }
	chain DOCKER-ISOLATION-STAGE-2 { oifname "br1" drop; return; }
	chain DOCKER-ISOLATION-STAGE-1 { iifname "br1" oifname != "br1" jump DOCKER-ISOLATION-STAGE-2; return; }
	chain DOCKER { return; }
	chain FORWARD {
		type filter hook forward priority 0; policy drop;
		jump DOCKER-USER
		jump DOCKER-ISOLATION-STAGE-1
		oifname "br0" ct state established,related accept
		oifname "br0" jump DOCKER
		iifname "br0" oifname != "br0" accept
		iifname "br0" oifname "br0" accept
	}
}
table ip nat {
	chain POSTROUTING {
		type nat hook postrouting priority 100;
		ip saddr 10.240.0.0/22 oifname != "br0" masquerade
	}
}
`)
}

// errNotFiltered is why there can be no Docker-like bridge.
var errNotFiltered = errors.New("the kernel filters no bridged packets; load the module with: modprobe br_netfilter")

func bridge(dir, name, rules string) (path, error) {
	p, err := ends(dir, name)
	if err != nil {
		return p, err
	}
	host, err := namespace(dir, name+" host")
	if err != nil {
		return p, err
	}
	err = in(host, func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		if err := netlink.LinkAdd(br); err != nil {
			return err
		}
		for i, end := range []string{p.a, p.b} {
			if err := veth(fmt.Sprintf("port%d", i), end, br.Attrs().Index); err != nil {
				return err
			}
		}
		if err := netlink.LinkSetUp(br); err != nil {
			return err
		}
		// Which of the two is measured must not depend on the default.
		filtered := "0"
		if rules != "" {
			filtered = "1"
		}
		const sysctl = "/proc/sys/net/bridge/bridge-nf-call-iptables"
		err := os.WriteFile(sysctl, []byte(filtered), 0o644)
		switch {
		case os.IsNotExist(err) && rules != "":
			return errNotFiltered
		case err != nil && !os.IsNotExist(err):
			return fmt.Errorf("cannot say whether bridged packets are filtered: %w", err)
		}
		if rules == "" {
			return nil
		}
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		return p, err
	}
	return p, address(p)
}

func rawVeth(dir string) (path, error) {
	p, err := ends(dir, "raw veth pair")
	if err != nil {
		return p, err
	}
	if err := in(p.a, func() error { return vethTo("eth0", "eth0", p.b, 0) }); err != nil {
		return p, err
	}
	return p, address(p)
}

// ends makes the two namespaces of a path.
func ends(dir, name string) (path, error) {
	p := path{name: name}
	var err error
	if p.a, err = namespace(dir, name+" a"); err != nil {
		return p, err
	}
	p.b, err = namespace(dir, name+" b")
	return p, err
}

// address configures eth0 at both ends of a path.
func address(p path) error {
	for ns, addr := range map[string]netip.Addr{p.a: addrA, p.b: addrB} {
		err := in(ns, func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			a, err := netlink.ParseAddr(addr.String() + "/22")
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(link, a); err != nil {
				return err
			}
			return netlink.LinkSetUp(link)
		})
		if err != nil {
			return fmt.Errorf("cannot configure %s: %w", ns, err)
		}
	}
	return nil
}

func veth(name, peerNamespace string, master int) error {
	return vethTo(name, "eth0", peerNamespace, master)
}

func vethTo(name, peer, peerNamespace string, master int) error {
	ns, err := netns.GetFromPath(peerNamespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500, MasterIndex: master},
		PeerName: peer, PeerNamespace: netlink.NsFd(int(ns))}
	if err := netlink.LinkAdd(v); err != nil {
		return err
	}
	return netlink.LinkSetUp(v)
}

// namespace makes a network namespace bound to a file of dir.
func namespace(dir, name string) (string, error) {
	file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
	err := locked(func() error {
		ns, err := netns.New()
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return err
		}
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0o644); err != nil && !os.IsNotExist(err) {
			return err
		}
		return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), file, "", unix.MS_BIND, "")
	})
	if err != nil {
		return file, fmt.Errorf("cannot make namespace %s: %w", name, err)
	}
	return file, nil
}

// in runs f in a namespace.
func in(file string, f func() error) error {
	return locked(func() error {
		ns, err := netns.GetFromPath(file)
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return err
		}
		return f()
	})
}

// locked runs f on a thread of its own, which ends with it: its namespace may
// be any.
func locked(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}
