package lab

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestParseMounts(t *testing.T) {
	const text = `22 27 0:21 / /proc rw,relatime - proc proc rw
90 27 0:4 net:[4026532281] /run/atoll-lab/a/work/a\040b\134 rw shared:1 master:2 - nsfs nsfs rw
`
	got, err := parseMounts(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []mount{
		{root: "/", point: "/proc", fstype: "proc"},
		{root: "net:[4026532281]", point: `/run/atoll-lab/a/work/a b\`, fstype: "nsfs"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mount{})); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if _, err := parseMounts(strings.NewReader("nonsense\n")); err == nil {
		t.Error("nonsense is no error")
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("22 27 0:21 / /proc rw,relatime - proc proc rw\n")
	f.Add(`90 27 0:4 net:[1] /a\040b\1 rw shared:1 - nsfs nsfs rw`)
	f.Add(" - ")
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := parseMounts(strings.NewReader(text))
		if err == nil && len(mounts) > strings.Count(text, "\n")+1 {
			t.Errorf("%d mounts in %q", len(mounts), text)
		}
	})
}

func TestInCgroup(t *testing.T) {
	for file, want := range map[string]bool{
		"0::/\n": false,
		"9:name=systemd:/\n4:memory:/atoll-lab-a\n": true,
		"4:memory:/atoll-lab-a/atoll/1":             true,
		"4:memory:/atoll-lab-ab":                    false,
		"4:memory:/x/atoll-lab-a":                   false,
		"nonsense":                                  false,
	} {
		if got := inCgroup(file, "/atoll-lab-a"); got != want {
			t.Errorf("inCgroup(%q) = %v", file, got)
		}
	}
}

func TestZone(t *testing.T) {
	z, err := newZone([]string{
		"*.shop.example. 60 IN A 203.0.113.2",
		"deep.shop.example. 60 IN A 203.0.113.3",
		"loop.example. 60 IN CNAME loop.example.",
		"example.com. 60 IN A 198.51.100.99",
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.shop.example":       "203.0.113.2",
		"B.A.shop.example.":    "203.0.113.2",
		"deep.shop.example":    "203.0.113.3",
		"x.deep.shop.example":  "",
		"shop.example":         "",
		"example.com":          "198.51.100.99",
		"www.example.com":      "198.51.100.99",
		"echo.example":         EchoAddr,
		"loop.example":         "",
		"api.catalog.internal": "",
		".":                    "",
	} {
		if got, _ := z.address(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	rrs, _ := z.answer("a.shop.example.", dns.TypeA)
	if len(rrs) != 1 || rrs[0].Header().Name != "a.shop.example." {
		t.Errorf("a wildcard answers %v", rrs)
	}
	for _, bad := range []string{"", "x.example. 60 IN A 1.2.3", "nonsense"} {
		if _, err := newZone([]string{bad}); err == nil || !strings.Contains(err.Error(), "60 IN A") {
			t.Errorf("record %q: %v", bad, err)
		}
	}
}

func TestProcessIdentity(t *testing.T) {
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	if !me.alive() {
		t.Error("this process is dead")
	}
	for what, other := range map[string]process{
		"its number is used again":  {PID: me.PID, Start: me.Start - 1, Boot: me.Boot},
		"the machine was restarted": {PID: me.PID, Start: me.Start, Boot: "another"},
		"it ended":                  {PID: 1 << 23, Start: me.Start, Boot: me.Boot},
	} {
		if other.alive() {
			t.Errorf("%s, but it is alive", what)
		}
	}
	if (inhabitants{recorded: map[process]bool{me: true}}).among(os.Getpid()) {
		t.Error("a process would kill itself")
	}
}
