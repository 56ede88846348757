package sandbox_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/lab"
	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/sandbox"
)

// victimDir in the environment makes this test binary a victim.
const victimDir = "ATOLL_TEST_VICTIM_DIR"

// A server that is killed at any moment leaves something that the next start
// puts in order: what it had finished is as it was, the rest is gone.
func TestAfterAKillAtAnyMomentEverythingIsInOrder(t *testing.T) {
	lab.NeedRoot(t)
	l := lab.Start(t, lab.Options{})
	for round := range 10 {
		made := slay(t, l, round)
		m := &machine{t: t, lab: l}
		m.open()
		// One that was finished is given up, and one was never made.
		var wanted []string
		for id := range made {
			wanted = append(wanted, id)
		}
		slices.Sort(wanted)
		if len(wanted) > 3 {
			delete(made, wanted[0])
			wanted = wanted[1:]
		}
		m.restore(append(wanted, "never-made")...)
		m.wantInOrder(made)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
		for id := range made {
			m.on(func() error { return m.manager.Teardown(t.Context(), id) })
		}
		m.wantInOrder(nil)
		m.private.Close()
		m.outside.Close()
	}
}

// slay runs a victim and kills it. What it had finished is returned.
func slay(t *testing.T, l *lab.Lab, round int) map[string]sandbox.Sandbox {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nsenter", "--net="+l.Server().Path(), self, "-test.run=^TestVictim$", "-test.v")
	cmd.Env = append(os.Environ(), victimDir+"="+l.Dir(), "ATOLL_TEST_VICTIM_BPFFS="+l.BPFFS())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	made := map[string]sandbox.Sandbox{}
	lines, killed := bufio.NewScanner(out), false
	for events := 0; lines.Scan(); {
		if word, rest, _ := strings.Cut(lines.Text(), " "); word == "made" || word == "removing" {
			s, err := parse(rest)
			if err != nil {
				t.Fatal(err)
			}
			if word == "made" {
				made[s.InstanceID] = s
			} else {
				delete(made, s.InstanceID)
			}
			events++
		}
		// Each round at another step of the next Setup or Teardown: one
		// takes a few milliseconds.
		if events > 6+round && !killed {
			killed = true
			time.AfterFunc(time.Duration(round)*1300*time.Microsecond, func() { cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || !killed {
		t.Fatalf("the victim ended by itself: %v", err)
	}
	return made
}

func parse(text string) (sandbox.Sandbox, error) {
	var s sandbox.Sandbox
	var private, outside string
	if _, err := fmt.Sscan(text, &s.InstanceID, &private, &outside); err != nil {
		return s, fmt.Errorf("the victim says %q: %w", text, err)
	}
	return s, errors.Join(s.PrivateAddr.UnmarshalText([]byte(private)), s.OutsideAddr.UnmarshalText([]byte(outside)))
}

// TestVictim is no test: it makes and removes sandboxes until it is killed.
func TestVictim(t *testing.T) {
	dir := os.Getenv(victimDir)
	if dir == "" {
		t.Skip("run by TestAfterAKillAtAnyMomentEverythingIsInOrder only")
	}
	m, err := openAt(dir, os.Getenv("ATOLL_TEST_VICTIM_BPFFS"), func(f func() error) error { return f() })
	if err != nil {
		t.Fatal(err)
	}
	if err := m.manager.Restore(t.Context(), nil, false); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		r := request(fmt.Sprintf("c%d", i), uint32(i%3+1), 8080)
		s, err := m.manager.Setup(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("made", s.InstanceID, s.PrivateAddr, s.OutsideAddr)
		if i%3 == 2 {
			fmt.Println("removing", s.InstanceID, s.PrivateAddr, s.OutsideAddr)
			if err := m.manager.Teardown(t.Context(), s.InstanceID); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// wantInOrder compares everything there is with what there should be.
func (m *machine) wantInOrder(made map[string]sandbox.Sandbox) {
	m.t.Helper()
	var ids []string
	for id, want := range made {
		ids = append(ids, id)
		list := m.manager.List()
		found := slices.IndexFunc(list, func(s sandbox.Sandbox) bool { return s.InstanceID == id })
		if found < 0 {
			m.t.Errorf("%s is gone", id)
			continue
		}
		s := list[found]
		if s.PrivateAddr != want.PrivateAddr || s.OutsideAddr != want.OutsideAddr {
			m.t.Errorf("%s had %s and %s, now %s and %s", id, want.PrivateAddr, want.OutsideAddr, s.PrivateAddr, s.OutsideAddr)
		}
		b := box{s, m}
		wantAddrs := fmt.Sprintf("eth0@ifN UP %s/32\npn0@ifN UP %s/32", s.OutsideAddr, s.PrivateAddr)
		if got := withoutIndexes(b.interfaces()); got != wantAddrs {
			m.t.Errorf("%s has\n%s\nwant\n%s", id, got, wantAddrs)
		}
	}
	if len(ids) > 0 {
		b := box{m.manager.List()[0], m}
		m.listen(b.NetnsPath, "0.0.0.0:8080", b.InstanceID)
		m.wantAnswer(m.lab.Server().Path(), "", b.OutsideAddr.String()+":8080", b.InstanceID)
	}
	for what, got := range map[string]int{
		"sandboxes":          len(m.manager.List()),
		"notes":              len(notes(m.t, filepath.Join(m.lab.Dir(), "sandboxes"))),
		"namespaces":         len(notes(m.t, filepath.Join(m.lab.Dir(), "netns", "containers"))),
		"outside endpoints":  len(m.outside.List()),
		"outside interfaces": strings.Count(m.run(m.lab.Server().Path(), "ip -o link"), "ato-"),
		"pins":               strings.Count(m.run(m.lab.Server().Path(), "nft list set bridge atoll_outside ports"), `"ato-`),
		"public ports":       strings.Count(m.run(m.lab.Server().Path(), "nft list set ip atoll_outside public"), " . 8080"),
		"private interfaces": strings.Count(m.run(filepath.Join(m.lab.Dir(), "netns", "switch"), "ip -o link"), "alias c"),
	} {
		if got != len(made) {
			m.t.Errorf("%d %s, want %d", got, what, len(made))
		}
	}
}

func request(id string, key uint32, publicPort uint16) sandbox.Request {
	return sandbox.Request{InstanceID: id, Private: true, Outside: true, PublicPort: publicPort,
		Network: platform.PrivateNetwork{ID: fmt.Sprintf("pn-%d", key), Key: key}}
}
