package privnet

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/atollhq/atoll/internal/namespace"
)

// What is put right may bring other damage about: the kernel has no IPv6 on an
// interface below 1280 bytes, and new settings for it, which are on in a new
// namespace, as soon as that is larger. One Set is enough.
func TestIPv6ComesBackWithTheMTU(t *testing.T) {
	s := open(t, newConfig(t))
	b := member(t, s, 1, "10.240.0.1")
	var ipv6 bool
	b.do(func() error {
		var sysctl namespace.Settings
		defer sysctl.Close()
		if ipv6 = sysctl.HaveIPv6(); ipv6 {
			if err := sysctl.Set("net/ipv6/conf/default/disable_ipv6", "0"); err != nil {
				return err
			}
		}
		link, err := netlink.LinkByName(Interface)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, 1000)
	})
	if !ipv6 {
		t.Skip("the kernel has no IPv6")
	}
	set(t, s, b.endpoint(1))
	b.do(func() error {
		var sysctl namespace.Settings
		defer sysctl.Close()
		off, err := sysctl.Get("net/ipv6/conf/" + Interface + "/disable_ipv6")
		if err == nil && off != "1" {
			t.Error("IPv6 is on")
		}
		return err
	})
	if d := compare(t, s, b.endpoint(1)); !d.Empty() {
		t.Errorf("left: %s", strings.Join(d.Damaged, ", "))
	}
}
