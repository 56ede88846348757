package doctor

import (
	"context"
	"net"
	"strings"
	"testing"
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
		Port("API port", l.Addr().String(), "api_listen"),
		Disk(dir + "/not/there/yet"),
		{"custom", func(context.Context) error { return nil }},
	})
	failed := Failures(results)
	if failed == nil {
		t.Fatal("no failure was reported")
	}
	for _, want := range []string{"too old", "apt-get install some-package", "run make stack", "change api_listen"} {
		if !strings.Contains(failed.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, failed)
		}
	}
	for _, i := range []int{0, 4, 6, 7} {
		if results[i].Err != nil {
			t.Errorf("check %s failed: %v", results[i].Name, results[i].Err)
		}
	}
	if Failures(results[7:]) != nil {
		t.Error("checks that pass are a failure")
	}
}
