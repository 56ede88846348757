package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFailuresNameEachCheckAndItsRemedy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	results := Examine(t.Context(), []Check{
		Kernel(5, 10),
		Kernel(99, 0),
		Program("no-such-program", "some-package"),
		File("stack", dir+"/none", "run make stack"),
		File("folder", dir, "never shown"),
		Port("API port", l.Addr().String(), "api_listen", 0),
		Port("API port", l.Addr().String(), "api_listen", os.Getpid()),
		Disk("/proc/not/there/yet", false),
		{"custom", func(context.Context) (string, error) { return "fine", nil }},
		{"odd", func(context.Context) (string, error) { return "", errors.Join(Warn("one"), Warn("two")) }},
		File("stack image", dir+"/none", "run make stack").WithoutFailure(),
		File("folder", dir, "never shown").WithoutFailure(),
		Disk("/proc/not/there/yet", true), // no files can be made there
	})
	failed := Failures(results)
	if failed == nil {
		t.Fatal("no failure was reported")
	}
	for _, want := range []string{"too old", "apt-get install some-package", "run make stack", "taken by", "change api_listen"} {
		if !strings.Contains(failed.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, failed)
		}
	}
	for i, want := range []Outcome{OK, Failure, Failure, Failure, OK, Failure, OK, Failure, OK, Warning, Warning, OK, Warning} {
		if results[i].Outcome != want {
			t.Errorf("check %s is %s, want %s: %s", results[i].Name, results[i].Outcome, want, results[i].Text)
		}
	}
	if Failures(results[8:]) != nil {
		t.Error("checks that pass or warn are a failure")
	}
	var out strings.Builder
	if err := Print(&out, results[8:10]); err != nil || out.String() != "ok       custom  fine\nwarning  odd     one; two\n" {
		t.Errorf("printed (%v):\n%s", err, out.String())
	}
}

func TestKernelFeaturesAreTried(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount in a namespace of its own")
	}
	if _, err := Overlay().Run(t.Context()); err != nil {
		t.Error(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	// Of the check's own only: tests of other packages mount at the same time.
	for line := range strings.Lines(string(mounts)) {
		if strings.HasPrefix(line, "atoll-doctor ") {
			t.Errorf("the machine has a mount of the check: %s", line)
		}
	}
	if _, err := Cgroups().Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheHolderOfALockIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if pid, err := LockHolder(path); err != nil || pid != 0 {
		t.Fatalf("a file that is not there is held by %d, %v", pid, err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if pid, err := LockHolder(path); err != nil || pid != 0 {
		t.Fatalf("a file without a lock is held by %d, %v", pid, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if pid, err := LockHolder(path); err != nil || pid != os.Getpid() {
		t.Fatalf("held by %d, %v; want %d", pid, err, os.Getpid())
	}
}

func TestClock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Clock(file, file+"-missing").Run(t.Context()); outcome(err) == Failure {
		t.Error(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(file, later, later); err != nil {
		t.Fatal(err)
	}
	if _, err := Clock(file).Run(t.Context()); outcome(err) != Failure || !strings.Contains(err.Error(), "set the clock") {
		t.Errorf("a clock that is behind: %v", err)
	}
}

func TestBehindAStub(t *testing.T) {
	stub, real, home := netip.MustParseAddrPort("127.0.0.53:53"), netip.MustParseAddrPort("203.0.113.1:53"), netip.MustParseAddrPort("192.168.1.1:53")
	for name, tt := range map[string]struct {
		named, behind, want []netip.AddrPort
	}{
		"a stub":                {[]netip.AddrPort{stub}, []netip.AddrPort{home, real}, []netip.AddrPort{home, real}},
		"a stub of others":      {[]netip.AddrPort{stub}, nil, []netip.AddrPort{stub}},
		"no stub":               {[]netip.AddrPort{home}, []netip.AddrPort{real}, []netip.AddrPort{home}},
		"a stub and a resolver": {[]netip.AddrPort{stub, home}, []netip.AddrPort{real}, []netip.AddrPort{stub, home}},
	} {
		read := func() ([]netip.AddrPort, error) { return tt.named, nil }
		behind := func() ([]netip.AddrPort, error) {
			if tt.behind == nil {
				return nil, os.ErrNotExist
			}
			return tt.behind, nil
		}
		if got, err := Behind(read, behind)(); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tt.want)
		}
	}
}

func TestHowFarThePathWasMeasured(t *testing.T) {
	for addr, near := range map[string]bool{"203.0.113.1": false, "192.168.1.1": true} {
		if found := whole(netip.MustParseAddr(addr), 1500, "outside_mtu"); strings.Contains(found, "the way beyond it was not measured") != near {
			t.Errorf("%s: %s", addr, found)
		}
	}
}
