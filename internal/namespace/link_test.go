package namespace_test

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/namespace"
)

func TestLink(t *testing.T) {
	lab.NeedRoot(t)
	const name = "some0"
	path := made(t)
	inside := func(f func(s *namespace.Settings) error) {
		t.Helper()
		if err := namespace.DoAt(path, func() error {
			var s namespace.Settings
			defer s.Close()
			return f(&s)
		}); err != nil {
			t.Fatal(err)
		}
	}
	inside(func(*namespace.Settings) error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1400}, PeerName: "other0"})
	})
	ns, err := netns.GetFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	links, err := namespace.OpenLinks(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer links.Close()

	if link, _, err := links.Link("nobody0"); link != nil || err != nil {
		t.Errorf("one that is not there: %v, %v", link, err)
	}
	if _, _, err := links.Link(strings.Repeat("x", 300)); err == nil || !strings.Contains(err.Error(), "xxx") {
		t.Errorf("a name that no interface can have: %v", err)
	}
	look := func() bool {
		t.Helper()
		link, ipv6, err := links.Link(name)
		if err != nil || link == nil || link.Attrs().Name != name || link.Type() != "veth" {
			t.Fatalf("%v, %v", link, err)
		}
		return ipv6
	}
	// It says what the setting says, whatever else is set.
	inside(func(s *namespace.Settings) error {
		if !s.HaveIPv6() {
			if look() {
				t.Error("IPv6 is on although the kernel has none")
			}
			return nil
		}
		for _, value := range []string{"0", "1", "0"} {
			if err := s.Set("net/ipv6/conf/"+name+"/disable_ipv6", value); err != nil {
				return err
			}
			if look() != (value == "0") {
				t.Errorf("IPv6 is on: %v although disable_ipv6 is %s", look(), value)
			}
		}
		// Too small for IPv6: the kernel takes it away, settings and all.
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMTU(link, 1000); err != nil {
			return err
		}
		if look() {
			t.Error("IPv6 is on although the interface is too small")
		}
		return nil
	})
}
