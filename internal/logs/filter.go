package logs

import (
	"fmt"
	"strings"
)

// Filter chooses lines by label. The zero Filter takes all.
type Filter struct{ items []string }

// ParseFilter reads a filter as the API takes it (LG-3): containers
// ("web-1"), process types ("web"), "router" and the like, joined by "|".
// The empty filter takes all.
func ParseFilter(s string) (Filter, error) {
	if s == "" {
		return Filter{}, nil
	}
	items := strings.Split(s, "|")
	for _, item := range items {
		if !validLabel(item) {
			return Filter{}, fmt.Errorf("filter %q: use process types (web) or containers (web-1), joined by |", s)
		}
	}
	return Filter{items: items}, nil
}

// Match reports whether lines with the label pass.
func (f Filter) Match(label string) bool {
	if len(f.items) == 0 {
		return true
	}
	for _, item := range f.items {
		if item == label {
			return true
		}
		if rest, ok := strings.CutPrefix(label, item+"-"); ok && isNumber(rest) {
			return true
		}
	}
	return false
}

func isNumber(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
