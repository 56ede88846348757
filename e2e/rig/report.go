package rig

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Row is a line of the summary table.
type Row struct {
	// Promise is what the line is about, such as "drain" or "attack: spoofed
	// source"; lines are sorted and grouped by what is before the colon.
	Promise string `json:"promise"`
	// Figure is what was found, in words and numbers.
	Figure string `json:"figure"`
	// Outcome is "ok", "FAILED" or "skipped".
	Outcome string `json:"outcome"`
	Suite   string `json:"suite"` // the folder's name
	Test    string `json:"test"`
}

// ReportFile is the variable that names the file of the summary's rows, one
// JSON object on each line. Nothing is written without it.
const ReportFile = "ATOLL_REPORT"

// Report adds a line to the summary table when the test ends, with the test's
// outcome. Format and args make the figure. A test that ends before it reports
// has a line by e2e/summary, without a figure.
func Report(t testing.TB, promise, format string, args ...any) {
	t.Helper()
	figure := fmt.Sprintf(format, args...)
	t.Logf("%s: %s", promise, figure)
	path := os.Getenv(ReportFile)
	if path == "" {
		return
	}
	suite, err := os.Getwd() // go test starts a suite in its folder
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		row := Row{Promise: promise, Figure: figure, Outcome: outcome(t), Suite: filepath.Base(suite), Test: t.Name()}
		if err := appendRow(path, row); err != nil {
			t.Errorf("cannot write the report: %v", err)
		}
	})
}

func outcome(t testing.TB) string {
	switch {
	case t.Failed():
		return "FAILED"
	case t.Skipped():
		return "skipped"
	}
	return "ok"
}

func appendRow(path string, row Row) error {
	line, err := json.Marshal(row)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	// One write for a line: tests run beside each other.
	_, err = file.Write(append(line, '\n'))
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}
