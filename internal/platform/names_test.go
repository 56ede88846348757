package platform

import (
	"testing"
)

func TestParsePrivateName(t *testing.T) {
	const app, pn = "ap-11111111-2222-3333-4444-555555555555", "pn-66666666-7777-8888-9999-000000000000"
	long := app + "." + pn + ".private-network.internal"
	tests := map[string]struct {
		want PrivateName
		ok   bool
	}{
		long:                              {PrivateName{AppID: app, NetworkID: pn}, true},
		long + ".":                        {PrivateName{AppID: app, NetworkID: pn}, true},
		"web." + long:                     {PrivateName{Type: "web", AppID: app, NetworkID: pn}, true},
		"12.Api." + long + ".":            {PrivateName{Number: 12, Type: "api", AppID: app, NetworkID: pn}, true},
		"1.one-off." + long:               {PrivateName{Number: 1, Type: "one-off", AppID: app, NetworkID: pn}, true},
		"BILLING.Internal":                {PrivateName{AppName: "billing"}, true},
		"api.billing.internal.":           {PrivateName{Type: "api", AppName: "billing"}, true},
		"2.api.billing.internal":          {PrivateName{Number: 2, Type: "api", AppName: "billing"}, true},
		"0.api.billing.internal":          {},
		"01.api.billing.internal":         {},
		"+1.api.billing.internal":         {},
		"-1.api.billing.internal":         {},
		"x.api.billing.internal":          {},
		"a-b.billing.internal":            {},
		"1.2.api.billing.internal":        {},
		"internal.":                       {},
		"private-network.internal":        {},
		pn + ".private-network.internal.": {},
		"example.com":                     {},
		"notinternal.":                    {},
		"":                                {},
	}
	for name, tt := range tests {
		got, ok := ParsePrivateName(name)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q: got %+v, %v; want %+v, %v", name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestInPrivateZone(t *testing.T) {
	for name, want := range map[string]bool{
		"internal": true, "INTERNAL.": true, "a.internal": true, "a.b.Internal.": true,
		"ainternal.": false, "internal.example.": false, "example.com": false, ".": false, "": false,
	} {
		if got := InPrivateZone(name); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
}

func FuzzParsePrivateName(f *testing.F) {
	for _, s := range []string{"1.web.ap-1.pn-1.private-network.internal.", "api.billing.internal", "internal", "..internal", "1..internal."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := ParsePrivateName(s)
		if !ok {
			return
		}
		if !InPrivateZone(s) {
			t.Fatalf("%q is a private name outside the private zone", s)
		}
		again, ok := ParsePrivateName(n.String())
		if !ok || again != n {
			t.Fatalf("%q reads as %+v, written %q, read again as %+v (%v)", s, n, n.String(), again, ok)
		}
	})
}
