package cronfile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	jobs, err := Parse(strings.NewReader(`{"jobs":[{"command":"*/10 * * * *  bin/purge  --all 'a  b'","size":"2XL"},{"command":"0 3 * jan-mar mon-fri x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Job{{"*/10 * * * *", "bin/purge  --all 'a  b'", "2XL"}, {"0 3 * jan-mar mon-fri", "x", ""}}
	if diff := cmp.Diff(want, jobs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, none := range []string{`{}`, `{"jobs":[]}`, `{"jobs":null}`} {
		if jobs, err := Parse(strings.NewReader(none)); err != nil || len(jobs) > 0 {
			t.Errorf("%s: %v, %v", none, jobs, err)
		}
	}
}

func job(command string) string { return `{"jobs":[{"command":"` + command + `"}]}` }

func TestWhatIsJustRareEnough(t *testing.T) {
	for _, schedule := range []string{"*/10 * * * *", "50 23 * * *", "0,50 0,23 * * *", "0,55 0,23 * * 1", "0,55 0,23 28,1 1,3,5,7,9,11 *", "0 0 29 2 *"} {
		if _, err := Parse(strings.NewReader(job(schedule + " x"))); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	for text, says := range map[string]string{
		``: "has to look like", `[]`: "has to look like", `{"job":[]}`: "unknown field", `{"jobs":[{"cmd":"x"}]}`: "unknown field",
		`{} {}`: "behind its end", job(`* * * *`): "five fields", job(`@daily x`): "@daily", job(`60 * * * * x`): "is no schedule",
		job(`*/5 * * * * x`): "smallest interval is 10m0s", job(`0,5 0 1 1 * x`): "due every 5m0s", job(`55,0 0,23 * * * x`): "due every 5m0s",
		// From the 30th of April to the 1st of May, and on no other night of that month.
		job(`0,11,22,33,44,55 0,23 1,3,5,7,9,11,13,15,17,19,21,23,25,27,30 * * x`): "due every 5m0s",
		job(`0,55 0,23 29,1 2-3 * x`): "due every 5m0s", job(`0,55 0,23 28 2 1 x`): "due every 5m0s",
		job(`0 0 30 2 * x`): "never due", job(`0 0 L * * x`): "no field", job(`? * * * * x`): "no field", job(`0 0 * * 1#2 x`): "no field",
		job(`0 0 * * * x\ny`): "one line", "{\"jobs\":[{\"command\":\"\xff\"}]}": "UTF-8",
		`{"jobs":[` + strings.Repeat(`{"command":"0 1 * * * x"},`, 5) + `{"command":"0 1 * * * x"}]}`: "at most 5",
		strings.Repeat(" ", maxSize+1): "larger than",
	} {
		_, err := Parse(strings.NewReader(text))
		var refused *Error
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.80q: error %v, want one that says %q", text, err, says)
		}
	}
}

func TestNext(t *testing.T) {
	at := time.Date(2026, 2, 27, 23, 58, 30, 0, time.UTC) // a Friday
	for _, c := range []struct{ schedule, next string }{
		{"*/10 * * * *", "2026-02-28 00:00"},
		{"0 3 * * *", "2026-02-28 03:00"},
		{"30 12 1 * *", "2026-03-01 12:30"},
		{"0 0 29 2 *", "2028-02-29 00:00"},
		{"0 6 * * 1-5", "2026-03-02 06:00"},
		{"0 0 13 * 5", "2026-03-06 00:00"}, // the 13th or a Friday
		{"15 8-18/2 * * *", "2026-02-28 08:15"},
	} {
		next, err := Next(c.schedule, at)
		if err != nil || next.Format("2006-01-02 15:04") != c.next {
			t.Errorf("%s is due at %v (%v), want %s", c.schedule, next, err, c.next)
		}
	}
	exact := time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC)
	if next, _ := Next("*/10 * * * *", exact); !next.Equal(exact.Add(10 * time.Minute)) {
		t.Errorf("after a run it is due at %v", next)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{}`, job(`*/10 * * * * x`), job(`0 3 1,15 jan-mar mon-fri bin/x --y`), job(`0 0 30 2 * x`), job(`@daily x`), `{"jobs":[{"command":"0 0 * * 7 x","size":"L"}]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		jobs, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, j := range jobs {
			next, err := Next(j.Schedule, time.Date(2026, 5, 5, 5, 5, 5, 0, time.UTC))
			if err != nil || next.Year() < 2026 || j.Command == "" || strings.Contains(j.Command, "\n") {
				t.Errorf("%+v: next %v, error %v", j, next, err)
			}
		}
	})
}
