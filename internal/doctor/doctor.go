// Package doctor checks that a machine can run Atoll, before anything is
// changed on it: each check says what is missing and how to get it.
//
// It imports nothing of ours and changes nothing.
package doctor

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// Check is one thing to look at. Run returns nil when it is in order, else
// an error that says what is wrong and what to do.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// Result is the outcome of a check.
type Result struct {
	Name string
	// Err is nil when the check passed.
	Err error
}

// Examine runs all checks side by side and returns their results in order.
func Examine(ctx context.Context, checks []Check) []Result {
	results := make([]Result, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { results[i] = Result{Name: c.Name, Err: c.Run(ctx)} })
	}
	wg.Wait()
	return results
}

// Failures joins what went wrong into one error, nil when nothing did.
func Failures(results []Result) error {
	var lines []string
	for _, r := range results {
		if r.Err != nil {
			lines = append(lines, fmt.Sprintf("  - %s: %v", r.Name, r.Err))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("this machine cannot run Atoll yet:\n%s", strings.Join(lines, "\n"))
}
