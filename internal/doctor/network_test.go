package doctor

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/atollhq/atoll/internal/lab"
)

var upstream = netip.MustParseAddrPort(lab.InternetAddr + ":53")

// resize changes the MTU of a link of a lab.
func resize(t *testing.T, n lab.Namespace, link string, mtu int) {
	t.Helper()
	err := lab.Do(n, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		l, err := h.LinkByName(link)
		if err != nil {
			return err
		}
		return h.LinkSetMTU(l, mtu)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUpstream(t *testing.T) {
	l := lab.Start(t, lab.Options{})
	for addr, says := range map[string]string{
		lab.InternetAddr + ":53": "answers in",
		lab.InternetAddr + ":54": "no resolver runs there",
		"203.0.113.99:53":        "203.0.113.99 ",
	} {
		err := lab.Do(l.Server(), func() error {
			said, failed := tryUpstream(t.Context(), netip.MustParseAddrPort(addr))
			if !strings.Contains(said, says) || failed != (says != "answers in") {
				t.Errorf("%s: %q, failed: %v", addr, said, failed)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPathMTU(t *testing.T) {
	l := lab.Start(t, lab.Options{})
	measure := func(t *testing.T) (found string, err error) {
		t.Helper()
		began := time.Now()
		_ = lab.Do(l.Server(), func() error {
			found, err = pathTo(t.Context(), upstream, time.Millisecond, 1500, "outside_mtu")
			return nil
		})
		if took := time.Since(began); took > limit {
			t.Errorf("it took %v", took)
		}
		return found, err
	}
	t.Run("whole", func(t *testing.T) {
		if found, err := measure(t); err != nil || found != "1500 bytes to 203.0.113.1 in one piece" {
			t.Error(found, err)
		}
	})
	t.Run("smaller uplink", func(t *testing.T) {
		resize(t, l.Server(), "uplink0", 1453)
		if _, err := measure(t); outcome(err) != Warning || !strings.Contains(err.Error(), "set outside_mtu to 1453, so that nothing depends") {
			t.Error(err)
		}
		resize(t, l.Server(), "uplink0", 1500)
	})
	t.Run("black hole", func(t *testing.T) {
		// A veth drops what is larger than its other end takes (and a tag).
		resize(t, l.Internet(), "server0", 1396)
		if _, err := measure(t); outcome(err) != Warning || !strings.Contains(err.Error(), "packets of more than 1400 bytes vanish on the way to 203.0.113.1, while containers send up to 1500") {
			t.Error(err)
		}
	})
}

func TestFirewall(t *testing.T) {
	l := lab.Start(t, lab.Options{})
	check := Forwarding(Bridge{Name: "atoll0", Prefix: netip.MustParsePrefix("172.17.0.0/16"), Port: 8080, Public: []uint16{80}, OwnTables: "atoll"})
	for name, tt := range map[string]struct {
		rules   string
		outcome Outcome
		says    []string
	}{
		"none": {"", OK, nil},
		"docker": {"table ip filter {\nchain DOCKER-USER {\n}\nchain FORWARD {\ntype filter hook forward priority 0; policy drop;\njump DOCKER-USER\n}\n}\n", Failure,
			[]string{"Docker, by the policy of the chain FORWARD (ip filter), drops what containers send to the outside: iptables -I DOCKER-USER -i atoll0 -j ACCEPT"}},
		"ufw": {"table ip filter {\nchain ufw-input {\n}\nchain INPUT {\ntype filter hook input priority 0; policy drop;\nct state established accept\n}\n}\n", Failure,
			[]string{"ufw, by the policy of the chain INPUT (ip filter), drops what containers ask the resolver: ufw allow in on atoll0"}},
		"visitors": {"table inet mine {\nchain in {\ntype filter hook input priority 0; policy drop;\niifname \"atoll0\" accept\n}\n}\n", Warning,
			[]string{"drops what visitors send to TCP port 80: let TCP port 80 pass in it"}},
		"unknown": {"table inet mine {\nchain fw {\ntype filter hook forward priority 0;\nreject\n}\n}\n", Failure,
			[]string{"a rule of the chain fw (inet mine) drops what containers send to the outside", "nft insert rule inet mine fw iifname atoll0 accept"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "rules")
			if err := os.WriteFile(file, []byte("flush ruleset\n"+tt.rules), 0o600); err != nil {
				t.Fatal(err)
			}
			err := lab.Do(l.Server(), func() error {
				if out, err := exec.Command("nft", "-f", file).CombinedOutput(); err != nil {
					t.Fatalf("nft: %v: %s", err, out)
				}
				_, err := check.Run(t.Context())
				return err
			})
			if outcome(err) != tt.outcome {
				t.Fatalf("%s, want %s: %v", outcome(err), tt.outcome, err)
			}
			for _, says := range tt.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%q is missing in: %v", says, err)
				}
			}
		})
	}
}

// TestFirewallThatCannotBeRead: nothing is known then, which is no fault.
func TestFirewallThatCannotBeRead(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Forwarding(Bridge{Name: "atoll0", Prefix: netip.MustParsePrefix("172.17.0.0/16")}).Run(t.Context())
	if outcome(err) != Warning || !strings.Contains(err.Error(), "cannot read the firewall's rules") {
		t.Errorf("%s: %v", outcome(err), err)
	}
}
