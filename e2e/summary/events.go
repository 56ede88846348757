package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/atollhq/atoll/e2e/rig"
)

// event is a line of `go test -json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// key is a test, or a suite where the test is empty.
type key struct{ suite, test string }

// told is what go test tells of the suites: how each test and each suite
// ended, and what it said.
type told struct {
	ended map[key]string // "pass", "fail" or "skip"; empty while it runs
	order []key          // as they began
	said  map[key][]string
}

// listen reads the events of go test to their end, and prints what `go test`
// prints without -json: the output of what fails, and a line for each suite.
func listen(in io.Reader, out io.Writer) (told, error) {
	t := told{ended: map[key]string{}, said: map[key][]string{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			t.hear(line, out)
		}
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return t, fmt.Errorf("cannot read what go test tells: %w", err)
		}
	}
}

func (t *told) hear(line string, out io.Writer) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		fmt.Fprint(out, line) // go's own words: a wrong flag, for instance
		return
	}
	if e.Package == "" {
		fmt.Fprint(out, e.Output) // of a build
		return
	}
	k := key{path.Base(e.Package), e.Test}
	if _, known := t.ended[k]; !known {
		t.ended[k] = ""
		t.order = append(t.order, k)
	}
	switch e.Action {
	case "output":
		if e.Test == "" {
			fmt.Fprint(out, e.Output)
		}
		if !strings.HasPrefix(e.Output, "=== ") {
			t.said[k] = append(t.said[k], e.Output)
		}
	case "pass", "skip", "fail":
		t.ended[k] = e.Action
		if e.Test != "" && e.Action == "fail" {
			fmt.Fprint(out, strings.Join(t.said[k], ""))
		}
	}
}

// complete corrects the rows by what go test knows better, and adds one for
// each failed or skipped test that ended before it could report anything.
func (t told) complete(rows []rig.Row) []rig.Row {
	reported := map[key]bool{}
	for i, row := range rows {
		k := key{row.Suite, row.Test}
		reported[k] = true
		if _, known := t.ended[k]; known && t.outcome(k) == failed {
			rows[i].Outcome = failed // later than when the row was written
		}
	}
	for _, k := range t.order {
		if k.test != "" && !reported[k] && !t.explained(k) {
			if outcome := t.outcome(k); outcome != ok {
				rows = append(rows, rig.Row{Promise: "(no finding) " + k.suite + ": " + k.test, Outcome: outcome, Figure: t.why(k), Suite: k.suite, Test: k.test})
			}
		}
	}
	for _, k := range t.order {
		if k.test == "" && t.outcome(k) == failed && !slices.ContainsFunc(rows, func(r rig.Row) bool { return r.Suite == k.suite && r.Outcome == failed }) {
			rows = append(rows, rig.Row{Promise: "(no finding) " + k.suite, Outcome: failed, Figure: t.why(k), Suite: k.suite})
		}
	}
	if len(t.order) == 0 {
		rows = append(rows, rig.Row{Promise: "(no finding)", Outcome: failed, Figure: "go test ran no suite"})
	}
	return rows
}

// The outcomes of rows.
const (
	ok      = "ok"
	failed  = "FAILED"
	skipped = "skipped"
)

func (t told) outcome(k key) string {
	switch t.ended[k] {
	case "pass":
		return ok
	case "skip":
		return skipped
	}
	return failed // or cut off
}

// explained reports whether a test failed because one below it did, which has a
// row of its own.
func (t told) explained(k key) bool {
	return t.outcome(k) == failed && slices.ContainsFunc(t.order, func(below key) bool {
		return below.suite == k.suite && strings.HasPrefix(below.test, k.test+"/") && t.outcome(below) == failed
	})
}

// why is the first that a test or a suite said of itself.
func (t told) why(k key) string {
	verdict := "it said nothing"
	for _, text := range t.said[k] {
		switch text = strings.TrimSpace(text); {
		case text == "" || text == "PASS" || strings.HasPrefix(text, "--- "):
		case strings.HasPrefix(text, "FAIL"):
			verdict = text // "[build failed]", when nothing else is said
		default:
			return text
		}
	}
	return verdict
}
