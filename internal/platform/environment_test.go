package platform

import (
	"net/netip"
	"strings"
	"testing"
)

func TestContainerEnv(t *testing.T) {
	size, err := SizeByName("L")
	if err != nil {
		t.Fatal(err)
	}
	w := Workload{AppID: "ap-1", AppName: "billing", Type: "web", Version: "v1", Size: size, Stack: "atoll-12", Region: "local",
		Network: PrivateNetwork{ID: "pn-1"}, Env: map[string]string{"COLOUR": "blue", "PORT": "1", "APP": "mine"}}
	env := ContainerEnv(w, 2, netip.MustParseAddr("10.240.0.7"))
	for name, want := range map[string]string{
		"PORT": "8080", "CONTAINER": "web-2", "CONTAINER_VERSION": "v1", "CONTAINER_SIZE": "L", "CONTAINER_MEMORY": "1073741824",
		"APP": "billing", "SCALINGO_APPLICATION_ID": "ap-1", "HOSTNAME": "billing-web-2", "STACK": "atoll-12", "REGION_NAME": "local",
		"SCALINGO_PRIVATE_NETWORK_ID": "pn-1", "SCALINGO_PRIVATE_HOSTNAME": "2.web.ap-1.pn-1.private-network.internal.",
		"ATOLL_PRIVATE_IP": "10.240.0.7", "ATOLL_PRIVATE_INTERFACE": "pn0", "COLOUR": "blue", "HOME": "/app",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	w.Type = "worker"
	env = ContainerEnv(w, 1, netip.Addr{})
	for name := range env {
		if name == "PORT" || strings.Contains(name, "PRIVATE") {
			t.Errorf("%s=%s in a private container without a network", name, env[name])
		}
	}
}

func TestHostnameFitsIntoALabel(t *testing.T) {
	h := Hostname(strings.Repeat("a", 48), strings.Repeat("b", 24), 10)
	if len(h) > 63 || !strings.HasSuffix(h, "b-10") {
		t.Fatalf("host name %q has %d bytes", h, len(h))
	}
}

func TestResolveAliases(t *testing.T) {
	got := ResolveAliases(map[string]string{"A": "$B", "B": "x", "C": "$NONE", "D": "$", "E": "$A", "F": "a$B"})
	for name, want := range map[string]string{"A": "x", "B": "x", "C": "$NONE", "D": "$", "E": "$B", "F": "a$B"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestNamesAreChecked(t *testing.T) {
	for name, ok := range map[string]bool{"abcdef": true, "a-b-c1": true, "abcde": false, "-abcdef": false, "abcdef-": false,
		"ab--cdef": false, "Abcdef": false, "abc_def": false, strings.Repeat("a", 48): true, strings.Repeat("a", 49): false, "": false} {
		if (ValidateAppName(name) == nil) != ok {
			t.Errorf("app name %q: ok is not %v", name, ok)
		}
	}
	for name, ok := range map[string]bool{"web": true, "Api2": true, "one-off": false, "a_b": false, "": false, strings.Repeat("a", 25): false} {
		if (ValidateProcessType(name) == nil) != ok {
			t.Errorf("process type %q: ok is not %v", name, ok)
		}
	}
	for name, ok := range map[string]bool{"A": true, "A_1": true, "_A": false, "A-B": false, "": false, strings.Repeat("A", 65): false} {
		if (ValidateVariable(name, "") == nil) != ok {
			t.Errorf("variable %q: ok is not %v", name, ok)
		}
	}
}

func TestReachable(t *testing.T) {
	private, outside := netip.MustParseAddr("10.240.0.1"), netip.MustParseAddr("172.17.0.2")
	on := func(addr string) []Listener {
		return []Listener{{Protocol: "tcp", Addr: netip.MustParseAddr(addr), Port: 3000}}
	}
	for _, tt := range []struct {
		kind, addr string
		want       bool
	}{
		{"api", "10.240.0.1", true}, {"api", "0.0.0.0", true}, {"api", "::", true}, {"api", "::ffff:10.240.0.1", true},
		{"api", "127.0.0.1", false}, {"api", "::1", false}, {"api", "172.17.0.2", false}, {"web", "172.17.0.2", true},
	} {
		i := Instance{Type: tt.kind, PrivateAddr: private, OutsideAddr: outside, Observation: Observation{Listeners: on(tt.addr)}}
		if i.Reachable() != tt.want {
			t.Errorf("%s listening on %s: reachable is not %v", tt.kind, tt.addr, tt.want)
		}
	}
}
