package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// summarize gives the table for rows and events, one on a line.
func summarize(t *testing.T, rows, events string) string {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(report, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(report, strings.NewReader(events), &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// ends are the events of a test from its begin to its end.
func ends(test, action string, said ...string) string {
	line := func(action, output string) string {
		return fmt.Sprintf(`{"Action":%q,"Package":"example.org/e2e","Test":%q,"Output":%q}`+"\n", action, test, output)
	}
	text := line("run", "")
	for _, s := range said {
		text += line("output", s+"\n")
	}
	if action != "" {
		text += line(action, "")
	}
	return text
}

const row = `{"promise":"drain","figure":"0 lost","outcome":"ok","suite":"e2e","test":"TestDrain"}` + "\n"

func TestTheTableHidesNothing(t *testing.T) {
	passed := ends("TestDrain", "pass")
	for _, c := range []struct {
		name, rows, events string
		want               []string
	}{
		{"all is well", row, passed + ends("", "pass", "ok  \texample.org/e2e\t1s"), []string{"drain    ok       0 lost", "1 promises looked at, 0 failed, 0 skipped"}},
		{"a test ended before its row", row, passed + ends("TestNames", "fail", "=== RUN   TestNames", "    names_test.go:7: no such name", "--- FAIL: TestNames (0.1s)") + ends("", "fail", "FAIL"),
			[]string{"(no finding) e2e: TestNames  FAILED   names_test.go:7: no such name", "    names_test.go:7: no such name\n--- FAIL: TestNames", "2 promises looked at, 1 failed"}},
		{"below another", row, passed + ends("TestNames/PTR", "fail", "x_test.go:1: wrong") + ends("TestNames", "fail") + ends("", "fail", "FAIL"),
			[]string{"e2e: TestNames/PTR  FAILED   x_test.go:1: wrong", "2 promises looked at, 1 failed"}},
		{"a test was skipped", row, passed + ends("TestJava", "skip", "    java_test.go:9: the runtime is missing", "--- SKIP: TestJava") + ends("", "pass"),
			[]string{"e2e: TestJava  skipped  java_test.go:9: the runtime is missing", "1 promises looked at, 0 failed, 1 skipped"}},
		{"a test failed after its row", row, ends("TestDrain", "fail", "x_test.go:1: late") + ends("", "fail", "FAIL"), []string{"drain    FAILED   0 lost", "1 promises looked at, 1 failed"}},
		{"only the suite failed", row, passed + ends("", "fail", "PASS", "e2e: private names were asked", "FAIL\texample.org/e2e"),
			[]string{"(no finding) e2e  FAILED   e2e: private names were asked", "2 promises looked at, 1 failed"}},
		{"not even built", "", ends("", "fail", "FAIL\texample.org/e2e [build failed]"), []string{"FAILED   FAIL\texample.org/e2e [build failed]", "1 failed"}},
		{"cut off", row, passed + ends("TestLong", "", "x_test.go:1: still here") + ends("", ""), []string{"e2e: TestLong  FAILED   x_test.go:1: still here", "1 failed"}},
		{"never begun", "", "flag provided but not defined: -x\n", []string{"flag provided but not defined", "go test ran no suite", "1 failed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := summarize(t, c.rows, c.events)
			for _, want := range c.want {
				if !strings.Contains(strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(want), " ")) {
					t.Errorf("%q is missing in:\n%s", want, got)
				}
			}
		})
	}
}
