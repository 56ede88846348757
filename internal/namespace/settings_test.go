package namespace_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/namespace"
)

func TestSettings(t *testing.T) {
	lab.NeedRoot(t)
	a, b := made(t), made(t)
	const name = "net/ipv4/conf/all/arp_ignore"
	set := func(path, value string) {
		t.Helper()
		err := namespace.DoAt(path, func() error {
			var s namespace.Settings
			defer s.Close()
			return s.Set(name, value)
		})
		if err != nil {
			t.Error(err)
		}
	}
	want := func(path, value string) {
		t.Helper()
		err := namespace.DoAt(path, func() error {
			var s namespace.Settings
			defer s.Close()
			got, err := s.Get(name)
			text, _ := os.ReadFile("/proc/sys/" + name)
			if got != value || strings.TrimSpace(string(text)) != value {
				err = errors.Join(err, fmt.Errorf("%s is %q (the file says %q), want %s", name, got, text, value))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	// Each namespace has its own.
	set(a, "1")
	set(b, "2")
	want(a, "1")
	want(b, "2")
}

func TestSettingsOfAllKinds(t *testing.T) {
	lab.NeedRoot(t)
	path := made(t)
	before := descriptors(t)
	err := namespace.DoAt(path, func() error {
		var s namespace.Settings
		defer s.Close()
		for name, value := range map[string]string{
			"net/ipv4/ping_group_range":           "0 2147483647", // two numbers, the kernel separates them by a tab
			"net/core/somaxconn":                  "77",           // neither of IPv4 nor of IPv6
			"net/ipv6/conf/default/mtu":           "1400",
			"net/ipv4/ip_unprivileged_port_start": "0",
		} {
			if strings.HasPrefix(name, "net/ipv6") && !s.HaveIPv6() {
				continue
			}
			if err := s.Set(name, value); err != nil {
				return err
			}
			if now, err := s.Get(name); err != nil || now != value {
				t.Errorf("%s is %q, %v", name, now, err)
			}
		}
		for _, name := range []string{"net/ipv4/conf/nobody0/forwarding", "net/ipv6/conf/nobody0/disable_ipv6", "net/nobody"} {
			if _, err := s.Get(name); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("reading %s, which is not there: %v", name, err)
			}
			if err := s.Set(name, "1"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), name) {
				t.Errorf("writing %s, which is not there: %v", name, err)
			}
		}
		if err := s.Set("net/ipv4/ip_forward", "yes"); err == nil || !strings.Contains(err.Error(), "ip_forward to yes") {
			t.Errorf("a value that the kernel refuses: %v", err)
		}
		_, err := os.Stat("/proc/sys/net/ipv6")
		if s.HaveIPv6() != (err == nil) {
			t.Errorf("IPv6 is there: %v, but %v", s.HaveIPv6(), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d files are open, %d were", after, before)
	}
}

// After Close, the same Settings may be used in another namespace.
func TestSettingsAnew(t *testing.T) {
	lab.NeedRoot(t)
	var s namespace.Settings
	const name = "net/ipv4/conf/all/arp_ignore"
	for i, path := range []string{made(t), made(t)} {
		err := namespace.DoAt(path, func() error {
			defer s.Close()
			if now, err := s.Get(name); err != nil || now == "8" && i == 1 {
				t.Errorf("in namespace %d: %s, %v", i, now, err)
			}
			return s.Set(name, "8")
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
