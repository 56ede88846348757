// Package ratio compares measurements that were taken in alternating pairs:
// machines are noisy and drift, so only the ratio of two runs next to each
// other says something, and only its spread says how much.
package ratio

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Series is the ratios of one figure, ours divided by the peer's.
type Series struct {
	// Figure says what was measured, Peer against whom; Better is "lower" or
	// "higher": which ratio is good for us.
	Figure, Peer, Better string
	ratios               []float64
	ours, theirs         []float64
	unit                 string
}

// New returns an empty series; unit is that of the absolute values.
func New(figure, peer, better, unit string) *Series {
	return &Series{Figure: figure, Peer: peer, Better: better, unit: unit}
}

// Add notes one pair. A pair with a value that is not positive was not
// measured and is left out.
func (s *Series) Add(ours, theirs float64) {
	if ours > 0 && theirs > 0 {
		s.ratios = append(s.ratios, ours/theirs)
		s.ours, s.theirs = append(s.ours, ours), append(s.theirs, theirs)
	}
}

// Median returns the median ratio, 0 without pairs.
func (s *Series) Median() float64 { return median(s.ratios) }

// Print writes a table of series.
func Print(w io.Writer, title string, all []*Series) {
	fmt.Fprintf(w, "\n%s\n%s\n", title, strings.Repeat("-", len(title)))
	fmt.Fprintf(w, "%-34s %-22s %7s %7s %7s %3s  %-7s  %s\n", "figure", "against", "median", "min", "max", "n", "better", "absolute medians (ours / peer)")
	for _, s := range all {
		if len(s.ratios) == 0 {
			fmt.Fprintf(w, "%-34s %-22s not measured\n", s.Figure, s.Peer)
			continue
		}
		fmt.Fprintf(w, "%-34s %-22s %7.3f %7.3f %7.3f %3d  %-7s  %.4g / %.4g %s\n", s.Figure, s.Peer,
			s.Median(), slices.Min(s.ratios), slices.Max(s.ratios), len(s.ratios), s.Better, median(s.ours), median(s.theirs), s.unit)
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
