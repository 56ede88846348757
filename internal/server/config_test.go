package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "atoll.yml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("base_domain: Apps.Example.com.\nhttp_listen: :8081\n")
	c, err := ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.BaseDomain != "apps.example.com" || c.HTTPListen != ":8081" || c.Region != "local" {
		t.Fatalf("config is %+v", c)
	}
	write("")
	if _, err := ReadConfig(path); err != nil {
		t.Fatalf("an empty file is refused: %v", err)
	}
	write("base_domian: x.example\n")
	if _, err := ReadConfig(path); err == nil || !strings.Contains(err.Error(), "base_domian") {
		t.Fatalf("a mistyped key gives %v", err)
	}
}

// Containers reach what visitors reach, and no other service of the machine.
func TestPublicSockets(t *testing.T) {
	for _, tt := range []struct {
		listen, publicPort, want string
	}{
		{":80", "", "[0.0.0.0:80]"},
		{":http", "", "[0.0.0.0:80]"},
		{":8080", "", "[0.0.0.0:8080]"},
		{"[::]:8080", "", "[0.0.0.0:8080]"},
		{":80", "80", "[0.0.0.0:80]"},
		{"203.0.113.2:80", "", "[203.0.113.2:80]"},
		{"203.0.113.2:80", "443", "[203.0.113.2:80 0.0.0.0:443]"},
		{"127.0.0.1:8080", "", "[]"},
		{"localhost:8080", "", "[]"},
		{"127.0.0.1:8080", "443", "[0.0.0.0:443]"},
		{"[2001:db8::1]:80", "", "[]"}, // containers have no IPv6
		{":0", "", "[]"},
	} {
		c := DefaultConfig()
		c.HTTPListen, c.PublicPort = tt.listen, tt.publicPort
		if public, err := c.publicSockets(); err != nil || fmt.Sprint(public) != tt.want {
			t.Errorf("%s, public port %q: %v (%v), want %s", tt.listen, tt.publicPort, public, err, tt.want)
		}
	}
	c := DefaultConfig()
	c.HTTPListen = ":what"
	if public, err := c.publicSockets(); err == nil || !strings.Contains(err.Error(), "http_listen") {
		t.Errorf("a port that is none gives %v (%v)", public, err)
	}
}

func TestValidateNamesEverythingThatIsWrong(t *testing.T) {
	c := DefaultConfig()
	c.BaseDomain, c.APIListen, c.OutsidePrefix, c.TrustedProxies, c.CgroupParent = "no domain", "7000", "172.17.0.1/16", []string{"me"}, "atoll"
	c.OutsideMTU = "jumbo"
	err := c.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, word := range []string{"base_domain", "api_listen", "outside_prefix", "outside_mtu", "trusted_proxies", "cgroup_parent"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is missing in: %v", word, err)
		}
	}
}
