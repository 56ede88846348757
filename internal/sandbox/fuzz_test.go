package sandbox

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atollhq/atoll/internal/privnet"
)

// A note that is taken is one that a Setup of ours could have written.
func FuzzParseNote(f *testing.F) {
	m, err := New(Config{RunDir: "/run/atoll", OutsidePrefix: netip.MustParsePrefix("172.17.0.0/16")})
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(Sandbox{Request: Request{InstanceID: "web-1", Private: true, Outside: true, PublicPort: 8080},
		NetnsPath: m.netns("web-1"), PrivateAddr: netip.MustParseAddr("10.240.0.2"), OutsideAddr: netip.MustParseAddr("172.17.0.2")})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), strings.ReplaceAll(string(good), "10.240.0.2", "10.0.0.2"), strings.ReplaceAll(string(good), "web-1", "../web-1"), "{}", "{", "null"} {
		f.Add("web-1", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, id string, text []byte) {
		s, err := m.parseNote(id, text)
		if err != nil {
			return
		}
		if s.InstanceID != id || filepath.Dir(s.NetnsPath) != m.netnsDir() || filepath.Dir(m.note(id)) != m.notesDir() {
			t.Errorf("the note of %q is taken for %+v", id, s)
		}
		if s.Private && !privnet.Prefix.Contains(s.PrivateAddr) || s.Outside && !s.OutsideAddr.Is4() {
			t.Errorf("%q has the addresses %s and %s", id, s.PrivateAddr, s.OutsideAddr)
		}
		again, err := json.Marshal(s)
		if err == nil {
			_, err = m.parseNote(id, again)
		}
		if err != nil {
			t.Errorf("%+v cannot be written and read again: %v", s, err)
		}
	})
}
