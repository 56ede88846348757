package privnet

import (
	"net/netip"
	"strings"
	"testing"
)

func TestEndpointValidate(t *testing.T) {
	good := Endpoint{ID: "a", Network: 1, Addr: FirstAddr, ContainerNetns: "/run/netns/a"}
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Endpoint){
		"no id":               func(e *Endpoint) { e.ID = "" },
		"at most 255 fit":     func(e *Endpoint) { e.ID = strings.Repeat("x", 256) },
		"control character":   func(e *Endpoint) { e.ID = "a\x00b" },
		"not an address":      func(e *Endpoint) { e.Addr = netip.MustParseAddr("10.240.3.255") },
		"(10.240.0.1 to":      func(e *Endpoint) { e.Addr = netip.Addr{} },
		"MTU 575":             func(e *Endpoint) { e.MTU = 575 },
		"not an absolute":     func(e *Endpoint) { e.ContainerNetns = "netns/a" },
		"MTU 70000 is not be": func(e *Endpoint) { e.MTU = 70000 },
	} {
		e := good
		change(&e)
		if err := e.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

func TestSetRefusesContradictions(t *testing.T) {
	a := Endpoint{ID: "a", Network: 1, Addr: FirstAddr, ContainerNetns: "/run/netns/a"}
	twice, sameAddr := a, a
	twice.Addr = LastAddr
	sameAddr.ID = "b"
	if _, err := byHostName([]Endpoint{a, twice}); err == nil {
		t.Error("the same id twice was accepted")
	}
	if _, err := byHostName([]Endpoint{a, sameAddr}); err == nil {
		t.Error("the same address twice in a network was accepted")
	}
	sameAddr.Network = 2
	if _, err := byHostName([]Endpoint{a, sameAddr}); err != nil {
		t.Errorf("the same address in two networks: %v", err)
	}
}

func TestHostNameFits(t *testing.T) {
	for _, id := range []string{"a", strings.Repeat("x", 255)} {
		if got := hostName(id); len(got) > 15 || !strings.HasPrefix(got, hostPrefix) {
			t.Errorf("host end of %q is called %q", id, got)
		}
	}
}

func TestWordsRoundTrip(t *testing.T) {
	if got := addrOf(addrWord(LastAddr)); got != LastAddr {
		t.Errorf("got %s", got)
	}
	mac := HardwareAddr(LastAddr)
	if got := macOf(macWords(mac)).String(); got != "02:a7:0a:f0:03:fe" {
		t.Errorf("got %s", got)
	}
}

func TestAtLeast(t *testing.T) {
	for release, want := range map[string]bool{
		"5.10.0-28-amd64": true, "5.10": true, "6.1.0": true, "6.18.44-x": true, "10.0": true,
		"5.9.16": false, "4.19.0": false, "unreadable": true,
	} {
		if got := atLeast(release, minKernel); got != want {
			t.Errorf("%s: %v, want %v", release, got, want)
		}
	}
}
