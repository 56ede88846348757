package ratio

import (
	"strings"
	"testing"
)

func TestSeries(t *testing.T) {
	s := New("round trip", "bridge", "lower", "us")
	for _, p := range [][2]float64{{1, 2}, {3, 3}, {4, 2}, {0, 1}} {
		s.Add(p[0], p[1])
	}
	if s.Median() != 1 {
		t.Fatalf("median is %v", s.Median())
	}
	var out strings.Builder
	Print(&out, "Table", []*Series{s, New("nothing", "nobody", "lower", "")})
	for _, want := range []string{"1.000   0.500   2.000   3", "not measured"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}
