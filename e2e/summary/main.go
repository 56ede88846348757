// Command summary prints the table of what end-to-end suites found: it reads
// what `go test -json` tells, and then the rows that the suites wrote to the
// file given as its argument. A test that ended before it could write one has a
// row too, so that nothing that failed or was skipped is missing.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"text/tabwriter"

	"github.com/atollhq/atoll/e2e/rig"
)

func main() {
	// Ctrl-C is for the tests; they need somebody who reads until they are done.
	signal.Ignore(os.Interrupt)
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "summary: %v\n", err)
		os.Exit(1)
	}
}

func run(report string, events io.Reader, out io.Writer) error {
	told, err := listen(events, out)
	if err != nil {
		return err
	}
	rows, err := read(report)
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	return write(out, told.complete(rows))
}

func read(path string) (rows []rig.Row, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the report: %w; run the suites with %s=%s first", err, rig.ReportFile, path)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var row rig.Row
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		rows = append(rows, row)
	}
	return rows, lines.Err()
}

func write(out io.Writer, rows []rig.Row) error {
	slices.SortStableFunc(rows, func(a, b rig.Row) int { return cmp.Compare(a.Promise, b.Promise) })
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "PROMISE\tOUTCOME\tFOUND")
	bad, unseen := 0, 0
	for _, row := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\n", row.Promise, row.Outcome, row.Figure)
		switch row.Outcome {
		case failed:
			bad++
		case skipped:
			unseen++
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d promises looked at, %d failed, %d skipped\n", len(rows)-unseen, bad, unseen)
	return err
}
