package containerd

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
)

func TestGroups(t *testing.T) {
	tests := map[string]struct {
		used     []groupUse
		n, total int
		want     []string
	}{
		"the first container opens a group": {n: 1, total: 1, want: []string{"n1"}},
		"replicas are apart":                {n: 3, total: 3, want: []string{"n1", "n2", "n3"}},
		"another app shares": {
			used: []groupUse{{"a", 1, 0, true}, {"b", 1, 0, true}}, n: 2, total: 2, want: []string{"a", "b"},
		},
		"a group with a replica takes no second one": {
			used: []groupUse{{"a", 1, 1, true}, {"b", 1, 0, true}}, n: 1, total: 2, want: []string{"b"},
		},
		"a full group takes none": {
			used: []groupUse{{"a", groupSize, 0, true}}, n: 1, total: 1, want: []string{"n1"},
		},
		"a group that is about to go takes none": {
			used: []groupUse{{"a", 2, 0, false}}, n: 1, total: 1, want: []string{"n1"},
		},
		"a tenth of many may share": {
			n: 20, total: 20, want: []string{"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			made := 0
			got := groups(tt.used, tt.n, tt.total, func() string { made++; return fmt.Sprint("n", made) })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
		})
	}
}

func TestManyContainersShareFewGroups(t *testing.T) {
	made := 0
	size := map[string]int{}
	for _, g := range groups(nil, 1000, 1000, func() string { made++; return fmt.Sprint(made) }) {
		size[g]++
	}
	if made != 1000/groupSize || len(size) != made {
		t.Errorf("%d groups are opened and %d used, want %d", made, len(size), 1000/groupSize)
	}
	for id, n := range size {
		if n != groupSize {
			t.Errorf("group %s has %d containers", id, n)
		}
	}
}

// testGroup lets containers of three apps share a shim: the first, whose shim
// it was, goes; others come, crash and go on; then the shim is killed.
func testGroup(t *testing.T, m *machine) {
	e, sink := m.opened(t, nil)
	ctx := context.Background()
	running := func(w platform.Workload, restarts int) platform.Instance {
		t.Helper()
		return sink.Await(t, w.ID, fmt.Sprintf("restart %d", restarts), func(rows []platform.Instance) bool {
			return len(rows) == 1 && rows[0].State == platform.InstanceRunning && rows[0].Restarts == restarts
		})[0]
	}
	var apps [3]platform.Workload
	var rows [3]platform.Instance
	for i := range apps {
		apps[i] = workload("probe wait", 1)
		must(t, e.Apply(ctx, apps[i]))
		rows[i] = running(apps[i], 0)
	}
	shim := shims(t, rows[0].ID)
	if len(shim) != 1 || len(shims(t, rows[1].ID))+len(shims(t, rows[2].ID)) > 0 {
		t.Fatalf("shims: %v, %v, %v", shim, shims(t, rows[1].ID), shims(t, rows[2].ID))
	}
	remove(t, e, sink, apps[0])
	running(apps[1], 0)

	must(t, e.Signal(ctx, rows[1].ID, syscall.SIGKILL))
	if row := running(apps[1], 1); row.LastExit.Code != 137 {
		t.Errorf("it ended with %+v", row.LastExit)
	}
	if after := shims(t, rows[0].ID); len(after) != 1 || after[0] != shim[0] {
		t.Errorf("the shim is %v, was %v", after, shim)
	}
	must(t, syscall.Kill(shim[0], syscall.SIGKILL))
	running(apps[1], 2)
	running(apps[2], 1)
	if n := len(shims(t, rows[1].ID)) + len(shims(t, rows[2].ID)); n != 1 {
		t.Errorf("%d shims are there after one was killed, want 1", n)
	}
	remove(t, e, sink, apps[1])
	remove(t, e, sink, apps[2])
	if n := len(shims(t, rows[1].ID)) + len(shims(t, rows[2].ID)); n != 0 {
		t.Errorf("%d shims are left", n)
	}
}
