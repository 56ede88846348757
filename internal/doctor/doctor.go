package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Check is one thing to look at.
type Check struct {
	Name string
	// Run returns what it found when all is in order ("" when there is nothing
	// to tell), else an error that says what is wrong and what to do. An error
	// made by Warn means that Atoll works all the same, or for the most part.
	Run func(ctx context.Context) (found string, err error)
}

// Outcome is how a check ended.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Warning Outcome = "warning"
	Failure Outcome = "failure"
)

// Result is a check that was made.
type Result struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	// Text is what was found, or what is wrong and what to do.
	Text string `json:"text"`
}

// limit is how long a check may take.
const limit = 20 * time.Second

// Warn makes an error that is only a warning.
func Warn(format string, args ...any) error { return &warning{fmt.Errorf(format, args...)} }

// WithoutFailure is the check as one that warns at most.
func (c Check) WithoutFailure() Check {
	return Check{c.Name, func(ctx context.Context) (string, error) {
		found, err := c.Run(ctx)
		if err != nil {
			err = &warning{err}
		}
		return found, err
	}}
}

// Examine makes all checks side by side and returns their results in order.
func Examine(ctx context.Context, checks []Check) []Result {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	results := make([]Result, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			found, err := c.Run(ctx)
			results[i] = Result{Name: c.Name, Outcome: outcome(err), Text: found}
			if err != nil {
				results[i].Text = strings.ReplaceAll(err.Error(), "\n", "; ")
			}
		})
	}
	wg.Wait()
	return results
}

// Failures joins what went wrong into one error, nil when nothing did.
// Warnings are none.
func Failures(results []Result) error {
	var lines []string
	for _, r := range With(results, Failure) {
		lines = append(lines, fmt.Sprintf("  - %s: %s", r.Name, r.Text))
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("this machine cannot run Atoll yet:\n%s", strings.Join(lines, "\n"))
}

// With returns the results with an outcome.
func With(results []Result, o Outcome) []Result {
	var out []Result
	for _, r := range results {
		if r.Outcome == o {
			out = append(out, r)
		}
	}
	return out
}

// Print writes the results for people, one line each.
func Print(w io.Writer, results []Result) error {
	width := 0
	for _, r := range results {
		width = max(width, len(r.Name))
	}
	var out strings.Builder
	for _, r := range results {
		fmt.Fprintln(&out, strings.TrimRight(fmt.Sprintf("%-7s  %-*s  %s", r.Outcome, width, r.Name, r.Text), " "))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// Private

type warning struct{ error }

func (w *warning) Unwrap() error { return w.error }

func outcome(err error) Outcome {
	var w *warning
	switch {
	case err == nil:
		return OK
	case errors.As(err, &w):
		return Warning
	}
	return Failure
}
