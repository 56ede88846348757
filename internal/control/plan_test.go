package control

import (
	"slices"
	"testing"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/store"
)

var release = platform.Release{ID: "r1", Commands: map[string]string{"web": "serve", "worker": "work"}}

func row(id, kind, size string, numbers ...int) store.Workload {
	return store.Workload{ID: id, Type: kind, Size: size, Numbers: numbers, Active: true, ReleaseID: "r1", Generation: 1}
}

func formation(amounts map[string]int, size string) []platform.ProcessType {
	var out []platform.ProcessType
	for _, name := range []string{"web", "worker", "gone"} {
		if n, ok := amounts[name]; ok {
			out = append(out, platform.ProcessType{Name: name, Amount: n, Size: size})
		}
	}
	return out
}

func TestPlanScale(t *testing.T) {
	tests := map[string]struct {
		rows     []store.Workload
		types    []platform.ProcessType
		adjusted map[string][]int // by row id, "" for a new row
		dropped  []string
		fresh    []int
	}{
		"up keeps the running containers": {
			rows: []store.Workload{row("a", "web", "M", 1)}, types: formation(map[string]int{"web": 3}, "M"),
			adjusted: map[string][]int{"a": {1, 2, 3}},
		},
		"down takes the highest numbers": {
			rows: []store.Workload{row("a", "web", "M", 1, 2, 3)}, types: formation(map[string]int{"web": 1}, "M"),
			adjusted: map[string][]int{"a": {1}},
		},
		"to zero drops the row": {
			rows: []store.Workload{row("a", "web", "M", 1, 2)}, types: formation(map[string]int{"web": 0}, "M"),
			dropped: []string{"a"},
		},
		"from zero makes a row that is in service at once": {
			types: formation(map[string]int{"worker": 2}, "S"), adjusted: map[string][]int{"": {1, 2}},
		},
		"another size is a replacement of all": {
			rows: []store.Workload{row("a", "web", "M", 1, 2)}, types: formation(map[string]int{"web": 3}, "L"),
			fresh: []int{1, 2, 3},
		},
		"after a restart of one container two rows share the type": {
			rows:  []store.Workload{row("a", "web", "M", 2, 3), row("b", "web", "M", 1)},
			types: formation(map[string]int{"web": 4}, "M"), adjusted: map[string][]int{"b": {1, 4}},
		},
		"a row left without numbers goes": {
			rows:  []store.Workload{row("a", "web", "M", 2, 3), row("b", "web", "M", 1)},
			types: formation(map[string]int{"web": 1}, "M"), dropped: []string{"a"},
		},
		"a type that the release lacks cannot run": {
			types: formation(map[string]int{"gone": 2}, "M"),
		},
		"nothing changes nothing": {
			rows: []store.Workload{row("a", "web", "M", 1)}, types: formation(map[string]int{"web": 1}, "M"),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := planScale(tt.rows, tt.types, release)
			if len(s.adjusted) != len(tt.adjusted) {
				t.Fatalf("adjusted %+v, want %v", s.adjusted, tt.adjusted)
			}
			for _, w := range s.adjusted {
				id := w.ID
				if w.Generation == 0 {
					id = ""
				}
				if !slices.Equal(w.Numbers, tt.adjusted[id]) || !w.Active {
					t.Errorf("row %q has numbers %v (active %v), want %v in service", id, w.Numbers, w.Active, tt.adjusted[id])
				}
			}
			if !slices.Equal(s.dropped, tt.dropped) {
				t.Errorf("dropped %v, want %v", s.dropped, tt.dropped)
			}
			if tt.fresh == nil != (len(s.fresh) == 0) || len(s.fresh) == 1 && (!slices.Equal(s.fresh[0].Numbers, tt.fresh) || s.fresh[0].Active) {
				t.Errorf("fresh %+v, want numbers %v out of service", s.fresh, tt.fresh)
			}
		})
	}
}

func TestPlanRestart(t *testing.T) {
	rows := []store.Workload{row("a", "web", "M", 1, 2), row("b", "worker", "M", 1)}
	types := formation(map[string]int{"web": 2, "worker": 1, "gone": 0}, "M")

	s, err := planRestart(rows, types, []string{"web-2"})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.fresh) != 1 || !slices.Equal(s.fresh[0].Numbers, []int{2}) || len(s.retired) != 1 || !slices.Equal(s.retired[0].keep, []int{1}) {
		t.Fatalf("restart of web-2 plans %+v", s)
	}
	if s, _ = planRestart(rows, types, nil); len(s.fresh) != 2 || len(s.retired) != 2 {
		t.Fatalf("restart of everything plans %+v", s)
	}
	if s, err = planRestart(rows, types, []string{"gone"}); err != nil || len(s.fresh) != 0 {
		t.Fatalf("restart of a type at 0 plans %+v, %v", s, err)
	}
	for _, bad := range []string{"web-3", "nothing", ""} {
		if _, err := planRestart(rows, types, []string{bad}); platform.CodeOf(err) != platform.CodeInvalid {
			t.Errorf("scope %q: error is %v", bad, err)
		}
	}
}

func TestScaledRefusesWhatBreaksARule(t *testing.T) {
	types := formation(map[string]int{"web": 1}, "M")
	for _, bad := range []platform.ProcessType{{Name: "api", Amount: 1}, {Name: "web", Amount: 11}, {Name: "web", Amount: -1}, {Name: "web", Amount: 1, Size: "huge"}} {
		if _, err := scaled(types, []platform.ProcessType{bad}, 10); platform.CodeOf(err) != platform.CodeInvalid {
			t.Errorf("%+v: error is %v", bad, err)
		}
	}
	if _, err := scaled(types, nil, 10); err == nil {
		t.Error("no change at all was accepted")
	}
	got, err := scaled(types, []platform.ProcessType{{Name: "web", Amount: 2}}, 2)
	if err != nil || got[0].Amount != 2 || got[0].Size != "M" {
		t.Errorf("web:2 gives %+v, %v", got, err)
	}
	if types[0].Amount != 1 {
		t.Error("the formation that was given is changed")
	}
}
