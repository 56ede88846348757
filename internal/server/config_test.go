package server

import (
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
