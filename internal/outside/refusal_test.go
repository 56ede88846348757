package outside_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/outside"
)

func TestRefusalsAreTrue(t *testing.T) {
	r := newRig(t)
	r.net = r.open(outside.Config{Public: []netip.AddrPort{netip.MustParseAddrPort(lab.ServerAddr + ":443"), netip.MustParseAddrPort("0.0.0.0:80")}, AllowPrivate: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}})
	box := r.attach("box", "172.17.0.2", 0)
	r.run(r.node(), "ip addr add 192.168.9.1/24 dev uplink0; ip route add 192.168.0.0/21 via 203.0.113.1; ip route add 169.254.0.0/16 via 203.0.113.1")
	r.run(r.lab.Internet().Path(), "for a in 192.168.7.7/32 192.168.6.7/32 169.254.169.254/32; do ip addr add $a dev lo; done")
	for _, at := range []string{"192.168.9.1:80", "192.168.9.1:7000", lab.ServerAddr + ":80", lab.ServerAddr + ":443", "192.168.9.1:443", lab.ServerAddr + ":7000", "172.17.0.1:7000"} {
		r.listen(r.node(), at, "open")
	}
	for _, at := range []string{"192.168.7.7:3000", "192.168.6.7:3000", "169.254.169.254:3000", lab.InternetAddr + ":3000"} {
		r.listen(r.lab.Internet().Path(), at, "open")
	}
	for at, says := range map[string]string{
		lab.InternetAddr + ":3000": "",
		"192.168.7.7:3000":         "",
		"192.168.6.7:3000":         "containers reach public addresses only; ask the operator for --allow-private 192.168.6.7/32",
		"169.254.169.254:3000":     "where clouds tell a machine its secrets",
		lab.ServerAddr + ":80":     "",
		lab.ServerAddr + ":443":    "",
		"192.168.9.1:443":          "192.168.9.1 is the machine itself",
		lab.ServerAddr + ":7000":   lab.ServerAddr + " is the machine itself, of which containers reach the resolver 172.17.0.1 and TCP port 443 and TCP port 80 only",
		"192.168.9.1:80":           "",
		"192.168.9.1:7000":         "192.168.9.1 is the machine itself",
		"172.17.0.1:7000":          "172.17.0.1 is the machine itself",
	} {
		why, err := r.net.Refusal("tcp", netip.MustParseAddrPort(at))
		if err != nil || !strings.Contains(why, says) || (why == "") != (says == "") {
			t.Errorf("%s: %q, %v; want %q", at, why, err, says)
		}
		// What was said is what the rules do.
		if says == "" {
			r.wantAnswer(box.ContainerNetns, at, "open")
		} else {
			r.wantSilence(box.ContainerNetns, at)
		}
	}
	for at, passes := range map[string]bool{"172.17.0.1:53": true, lab.ServerAddr + ":80": false, "172.17.0.9:53": false, "8.8.8.8:53": true, "168.63.129.16:53": false, "10.240.0.9:53": false} {
		if why, err := r.net.Refusal("udp", netip.MustParseAddrPort(at)); err != nil || (why == "") != passes {
			t.Errorf("%s by UDP: %q, %v; passes: %v", at, why, err, passes)
		}
	}
}
