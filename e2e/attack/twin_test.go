package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// twin is a place where everything arrives: the attacker's two interfaces with
// their addresses, each joined by a plain cable to a machine that takes every
// packet for its own and answers on every port.
type twin struct {
	attacker post // with the same two capabilities
	// sniffers are at the other ends of the cables, by link.
	sniffers map[string]*sniffer
	// victim is what answers there.
	victim post
}

func (s *siege) openTwin(t *testing.T) twin {
	a, b := s.namespace(t, "twin-attacker"), s.namespace(t, "twin-victim")
	// Made in the new namespaces; the machine's own never has a part in it. The
	// attacker's kernel must not say to all of 172.17.0.0/16 that it asked
	// nothing: each would take a place in the kernel's table of MACs, which is
	// one for all namespaces of the machine and small.
	words := strings.NewReplacer("B", b, "PN0", s.attacker.pn0.String(), "ETH0", s.attacker.eth0.String(), "GATEWAY", gateway.String(),
		"PNMAC", privateMAC(s.attacker.pn0).String(), "ETHMAC", outsideMAC(s.attacker.eth0).String())
	script(t, a, words.Replace(`
		echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
		ip link set lo up
		ip link add pn0 address PNMAC type veth peer name pn0 netns B
		ip link add eth0 address ETHMAC type veth peer name eth0 address 02:a8:ac:11:00:01 netns B
		ip addr add PN0/32 dev pn0; ip addr add ETH0/16 dev eth0
		ip link set pn0 up; ip link set eth0 up
		ip route add 10.240.0.0/22 dev pn0; ip route add default via GATEWAY
		nft add table ip every
		nft 'add chain ip every out { type filter hook output priority filter; }'
		nft 'add rule ip every out icmp type destination-unreachable drop'
		nft 'add rule ip every out tcp flags & rst == rst drop'`))
	script(t, b, words.Replace(`
		ip link set lo up
		ip addr add GATEWAY/16 dev eth0; ip addr add 10.240.3.253/32 dev pn0
		ip link set pn0 up; ip link set eth0 up
		ip route add 10.240.0.0/22 dev pn0
		ip neigh add PN0 lladdr PNMAC dev pn0; ip neigh add ETH0 lladdr ETHMAC dev eth0
		ip route add local default dev lo table 100
		ip rule add iif pn0 lookup 100; ip rule add iif eth0 lookup 100
		nft add table ip every
		nft 'add chain ip every in { type nat hook prerouting priority dstnat; }'
		nft 'add rule ip every in meta l4proto { tcp, udp } redirect to :`+fmt.Sprint(servicePort)+`'`))
	tw := twin{sniffers: map[string]*sniffer{"pn0": sniff(t, "the twin", b, "pn0"), "eth0": sniff(t, "the twin", b, "eth0")}}
	like := s.attacker.container.First(t)
	tw.attacker = s.grant(t, a, like)
	tw.victim = s.grant(t, b, like, fmt.Sprintf("LISTEN=%d", servicePort), "CONTAINER=twin")
	return tw
}

// namespace makes a network namespace of the laboratory, which ends with the
// test.
func (s *siege) namespace(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(s.Lab.Dir(), name)
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	inside(t, s.Lab.Server().Path(), func() error {
		home, err := netns.Get()
		if err != nil {
			return err
		}
		defer home.Close()
		made, err := netns.New()
		if err != nil {
			return err
		}
		defer made.Close()
		err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
		if back := netns.Set(home); back != nil {
			return back
		}
		return err
	})
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("cannot remove the namespace %s: %v", name, err)
		}
		os.Remove(path)
	})
	return path
}
