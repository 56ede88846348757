package privnet

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The program and this package must call a number by the same name.
func TestReasonsAreThoseOfTheProgram(t *testing.T) {
	source, err := os.ReadFile("bpf/drop.h")
	if err != nil {
		t.Fatal(err)
	}
	short := map[string]string{"ETHERTYPE": "other-ethertype", "UNKNOWN": "unknown-destination"}
	found := regexp.MustCompile(`(?m)^\tDROP_(\w+) = (\d+),`).FindAllStringSubmatch(string(source), -1)
	if len(found) != len(Reasons()) {
		t.Errorf("the program has %d reasons, this package %d", len(found), len(Reasons()))
	}
	for _, f := range found {
		name, number := f[1], f[2]
		want, ok := short[name]
		if !ok {
			want = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		if got := Reason(n).String(); got != want {
			t.Errorf("reason %d is %s here and DROP_%s in the program", n, got, name)
		}
	}
	if got := Reason(63).String(); got != "reason-63" {
		t.Errorf("a number without a name is %q", got)
	}
}
