package cronfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/adhocore/gronx"
)

// Limits of scheduled tasks (CR-3, CR-4).
const (
	MaxJobs     = 5
	MinInterval = 10 * time.Minute
	// MaxRun is the longest that a task may run; one that is due more often
	// may run until it is due again.
	MaxRun = 12 * time.Hour
	// maxSize is the largest cron.json, in bytes, maxCommand the longest
	// command.
	maxSize    = 64 << 10
	maxCommand = 16 << 10
)

// Job is one scheduled task.
type Job struct {
	// Schedule has the five fields of a crontab; times are UTC.
	Schedule string
	Command  string
	// Size is "" when the file gives none.
	Size string
}

// Error says what is wrong with a cron.json. Its text is meant for the user.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func failf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Parse reads a cron.json: {"jobs": [{"command": "0 3 * * * bin/clean",
// "size": "L"}]}. Unknown keys are refused, so that a typing mistake is not a
// task that never runs. A file that breaks a rule gives an *Error; any other
// error comes from r.
func Parse(r io.Reader) ([]Job, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read cron.json: %w", err)
	}
	if len(text) > maxSize {
		return nil, failf("cron.json is larger than %d KiB", maxSize>>10)
	}
	if !utf8.Valid(text) {
		return nil, failf("cron.json is not UTF-8")
	}
	var file struct {
		Jobs []struct {
			Command string `json:"command"`
			Size    string `json:"size"`
		} `json:"jobs"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, failf("cron.json is refused: %v; it has to look like {\"jobs\": [{\"command\": \"0 3 * * * bin/clean\", \"size\": \"M\"}]}", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, failf("cron.json is refused: there is more behind its end")
	}
	if len(file.Jobs) > MaxJobs {
		return nil, failf("cron.json has %d jobs; at most %d are possible: let one job start several things, or use a process type that keeps time itself", len(file.Jobs), MaxJobs)
	}
	var jobs []Job
	for i, entry := range file.Jobs {
		j, err := parseCommand(entry.Command)
		if err != nil {
			return nil, failf("cron.json, job %d: %v", i+1, err)
		}
		j.Size = entry.Size
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// Next returns when a schedule is due after a time.
func Next(schedule string, after time.Time) (time.Time, error) {
	next, err := gronx.NextTickAfter(schedule, after.UTC(), false)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot tell when %q is due: %w", schedule, err)
	}
	return next.Truncate(time.Minute), nil
}

// Private

// field is a field of a crontab: *, numbers, names, ranges and steps, in a
// list. Extensions of other programs (L, W, #, ?) are not in it.
var field = regexp.MustCompile(`^(\*|[0-9]{1,2}(-[0-9]{1,2})?|[A-Za-z]{3}(-[A-Za-z]{3})?)(/[0-9]{1,2})?(,(\*|[0-9]{1,2}(-[0-9]{1,2})?|[A-Za-z]{3}(-[A-Za-z]{3})?)(/[0-9]{1,2})?)*$`)

func parseCommand(text string) (Job, error) {
	const shape = `it begins with the five fields of a crontab, as in "0 3 * * * bin/clean"`
	words := strings.Fields(text)
	switch {
	case strings.ContainsAny(text, "\x00\n\r"):
		return Job{}, errors.New("the command must be one line of text")
	case len(text) > maxCommand:
		return Job{}, fmt.Errorf("the command is longer than %d bytes", maxCommand)
	case len(words) > 0 && strings.HasPrefix(words[0], "@"):
		return Job{}, fmt.Errorf("%q is not possible: %s", words[0], shape)
	case len(words) < 6:
		return Job{}, fmt.Errorf("%q is no command of a task: %s", text, shape)
	}
	schedule := strings.Join(words[:5], " ")
	for _, w := range words[:5] {
		if !field.MatchString(w) {
			return Job{}, fmt.Errorf("%q is no field of a crontab: use numbers, *, ranges (1-5), lists (1,15) and steps (*/10)", w)
		}
	}
	if !gronx.IsValid(schedule) {
		return Job{}, fmt.Errorf("%q is no schedule: minutes are 0-59, hours 0-23, days 1-31, months 1-12, weekdays 0-7", schedule)
	}
	interval, err := shortest(schedule)
	if err != nil {
		return Job{}, fmt.Errorf("%q is never due", schedule)
	}
	if interval < MinInterval {
		return Job{}, fmt.Errorf("%q is due every %v; the smallest interval is %v", schedule, interval, MinInterval)
	}
	rest := text
	for range 5 {
		rest = strings.TrimLeft(rest, " \t")
		rest = rest[strings.IndexAny(rest, " \t"):]
	}
	return Job{Schedule: schedule, Command: strings.TrimSpace(rest)}, nil
}

// shortest returns the shortest time between two runs of a schedule, exact
// when it is less than MinInterval. The minutes are the same on all days that
// it is due on: one day shows them, and there remains the night between two.
func shortest(schedule string) (time.Duration, error) {
	const day = 24 * time.Hour
	begin := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	before := begin.Add(-time.Minute)
	if _, err := Next(schedule, before); err != nil {
		return 0, err
	}
	words := strings.Fields(schedule)
	minutes := words[0] + " " + words[1] + " * * *"
	first, err := Next(minutes, before)
	if err != nil {
		return 0, err
	}
	least, last := day, first
	for least >= MinInterval {
		next, err := Next(minutes, last)
		if err != nil {
			return 0, err
		}
		if !next.Before(begin.Add(day)) {
			break
		}
		least, last = min(least, next.Sub(last)), next
	}
	night := first.Add(day).Sub(last)
	if night >= min(least, MinInterval) {
		return least, nil
	}
	// Is it ever due on two days running? After 28 years the weekdays are on
	// the same dates again.
	days := "0 0 " + strings.Join(words[2:], " ")
	for at := before; at.Before(begin.AddDate(28, 0, 0)); {
		next, err := Next(days, at)
		if err != nil {
			return 0, err
		}
		if next.Sub(at) == day {
			return night, nil
		}
		at = next
	}
	return least, nil
}
