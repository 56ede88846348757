package chaos

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/rig"
)

// program builds a program of the suite, to be shipped in an app's source.
func program(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", name, err, out)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// rates are how many requests each client sends in a second, by its type.
var rates = map[string]int{"eager": 200, "lazy": 50}

// load are clients in containers; what they tell is declared in member/.
type load []rig.Container

// figures are how the requests of a phase went.
type figures struct {
	Client   string `json:"-"`
	Phase    string
	Began    time.Time
	Ended    time.Time
	Sent     int
	Failures []failure
	Slowest  time.Duration
	Targets  map[string]int
	Names    []sight
}

type failure struct {
	At         time.Time
	Target     string
	ResolvedAt time.Time `json:"resolved_at"`
	Error      string
}

// sight is what the name resolved to, when that changed: asked at At, answered
// before Until.
type sight struct {
	At, Until time.Time
	Addrs     []netip.Addr
}

// begin ends a phase and begins the next; it returns how the ended one went,
// as each client saw it.
func (l load) begin(t testing.TB, phase string) []figures {
	t.Helper()
	var all []figures
	for _, c := range l {
		f := figures{Client: c.Type}
		c.MustFetch(t, &f, "http://127.0.0.1:4000/begin?phase="+url.QueryEscape(phase))
		all = append(all, f)
	}
	return all
}

// report adds the row of a phase to the summary.
func report(t testing.TB, all []figures) {
	t.Helper()
	sent, failed, slowest := 0, 0, time.Duration(0)
	for _, f := range all {
		sent, failed, slowest = sent+f.Sent, failed+len(f.Failures), max(slowest, f.Slowest)
	}
	f := all[0]
	rig.Report(t, "drain: "+f.Phase, "%d of %d requests failed, slowest %v, in %v", failed, sent,
		slowest.Round(time.Millisecond), f.Ended.Sub(f.Began).Round(time.Second))
}

// wantNone checks that no request failed, and that as many were sent as there
// should have been: a load that stands still loses nothing either.
func (f figures) wantNone(t testing.TB) {
	t.Helper()
	if want := 0.9 * float64(rates[f.Client]) * f.Ended.Sub(f.Began).Seconds(); f.Sent == 0 || float64(f.Sent) < want {
		t.Errorf("%s: %s sent %d requests, want at least %.0f in %v", f.Phase, f.Client, f.Sent, want, f.since(f.Ended))
	}
	if len(f.Failures) > 0 {
		t.Errorf("%s: %d of %d requests of %s failed:\n%s", f.Phase, len(f.Failures), f.Sent, f.Client, f.explain())
	}
	for _, s := range f.Names {
		if len(s.Addrs) == 0 {
			t.Errorf("%s: the name had no address at %v", f.Phase, f.since(s.Until))
		}
	}
}

// explain lists the first failures beside what the name said at the time.
func (f figures) explain() string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, x := range f.Failures[:min(len(f.Failures), 20)] {
		lines = append(lines, line{x.At, fmt.Sprintf("%s by the answer of %v: %s", x.Target, f.since(x.ResolvedAt), x.Error)})
	}
	for _, s := range f.Names {
		lines = append(lines, line{s.Until, fmt.Sprintf("the name is %v", s.Addrs)})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "\t%8v  %s\n", f.since(l.at), l.text)
	}
	return text.String()
}

func (f figures) since(at time.Time) time.Duration { return at.Sub(f.Began).Round(time.Millisecond) }
