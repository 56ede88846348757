package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/privnet"
)

// path is a way between two namespaces, each with one of the addresses.
type path struct {
	name string
	a, b string // paths of the namespaces
}

var addrA, addrB = netip.MustParseAddr("10.240.0.1"), netip.MustParseAddr("10.240.0.2")

// build makes the four paths; Atoll's is the first.
func build() ([]path, error) {
	dir, err := os.MkdirTemp("", "atoll-bench-")
	if err != nil {
		return nil, err
	}
	// The folder is seen in this mount namespace only and ends with it.
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700"); err != nil {
		return nil, fmt.Errorf("cannot mount a scratch folder: %w", err)
	}
	var paths []path
	for _, make := range []func(string) (path, error){atoll, plainBridge, dockerLike, rawVeth} {
		p, err := make(dir)
		if err != nil {
			return nil, fmt.Errorf("cannot build the path %s: %w", p.name, err)
		}
		paths = append(paths, p)
	}
	return paths, nil
}

func atoll(dir string) (path, error) {
	p, err := ends(dir, "atoll")
	if err != nil {
		return p, err
	}
	sw, err := privnet.Open(privnet.Config{Netns: filepath.Join(dir, "switch"), BPFFS: filepath.Join(dir, "bpf")})
	if err != nil {
		return p, err
	}
	for id, e := range map[string]privnet.Endpoint{"a": {Addr: addrA, ContainerNetns: p.a}, "b": {Addr: addrB, ContainerNetns: p.b}} {
		e.ID, e.Network = id, 1
		if err := sw.Attach(context.Background(), e); err != nil {
			return p, err
		}
	}
	return p, nil
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
		if err := os.WriteFile(sysctl, []byte(filtered), 0o644); err != nil && (rules != "" || !os.IsNotExist(err)) {
			return fmt.Errorf("br_netfilter is needed (modprobe br_netfilter): %w", err)
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
