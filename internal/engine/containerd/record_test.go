package containerd

import (
	"testing"
	"time"

	"github.com/atollhq/atoll/internal/platform"
)

// The clock was years ahead when the record was written.
func TestAClockThatWasSetBackDelaysNothing(t *testing.T) {
	r := newRecord(workload("probe wait", 1), 1, "test", time.Now())
	later := time.Now().Add(40 * 365 * 24 * time.Hour)
	r.Instance.RetryAt, r.Stop = later, &stopRecord{DrainUntil: later, TermAt: later}
	r = reload(t, r)
	now := time.Now()
	for name, tt := range map[string]struct {
		due  time.Time
		most time.Duration
	}{
		"the next start":     {r.Instance.RetryAt, 75 * time.Second},
		"the end of a drain": {r.Stop.DrainUntil, platform.DrainDelay},
		"SIGTERM":            {r.Stop.TermAt, 0},
	} {
		if tt.due.After(now.Add(tt.most)) || tt.due.Before(now.Add(tt.most-10*time.Second)) {
			t.Errorf("%s is in %v, want %v", name, tt.due.Sub(now), tt.most)
		}
	}
}

func TestTimesThatCanBeTrueStay(t *testing.T) {
	r := newRecord(workload("probe wait", 1), 1, "test", time.Now())
	now := time.Now().UTC()
	r.Instance.RetryAt, r.Stop = now.Add(time.Minute), &stopRecord{DrainUntil: now.Add(time.Second)}
	got := reload(t, r)
	if !got.Instance.RetryAt.Equal(now.Add(time.Minute)) || !got.Stop.DrainUntil.Equal(now.Add(time.Second)) || !got.Stop.TermAt.IsZero() {
		t.Errorf("%v and %+v became %v and %+v", r.Instance.RetryAt, r.Stop, got.Instance.RetryAt, got.Stop)
	}
	r.Instance.RetryAt, r.Stop = time.Time{}, nil
	if got := reload(t, r); !got.Instance.RetryAt.IsZero() || got.Stop != nil {
		t.Errorf("a record without times became %v and %+v", got.Instance.RetryAt, got.Stop)
	}
}

// reload is what the next process reads.
func reload(t *testing.T, r record) record {
	t.Helper()
	c, err := r.container(nil)
	must(t, err)
	r, err = loadRecord(c)
	must(t, err)
	return r
}
