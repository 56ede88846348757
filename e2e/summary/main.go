// Command summary prints the table of what end-to-end suites found, from the
// rows that they wrote to the files given as arguments.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/atollhq/atoll/e2e/rig"
)

func main() {
	var rows []rig.Row
	for _, path := range os.Args[1:] {
		more, err := read(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "summary: %v\n", err)
			os.Exit(1)
		}
		rows = append(rows, more...)
	}
	if err := write(os.Stdout, rows); err != nil {
		fmt.Fprintf(os.Stderr, "summary: %v\n", err)
		os.Exit(1)
	}
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
	failed := 0
	for _, row := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\n", row.Promise, row.Outcome, row.Figure)
		if row.Outcome == "FAILED" {
			failed++
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d promises looked at, %d failed\n", len(rows), failed)
	return err
}
