package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
)

func TestNetworkUseIsToldOncePerCrossing(t *testing.T) {
	s, u := newStore(t)
	p, err := s.DefaultProject(t.Context(), u.ID)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, members := range []int{1, 817, 818, 900, 800, 818, 716, 715, 3, 1022} {
		event, project, err := s.NoteNetworkUse(t.Context(), p.Network.ID, members)
		if err != nil || project.ID != p.ID {
			t.Fatalf("%d members: project %q, error %v", members, project.ID, err)
		}
		got = append(got, event)
	}
	want := []string{"", "", EventNetworkNearlyFull, "", "", "", "", EventNetworkHasRoom, "", EventNetworkNearlyFull}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	events, _, err := s.UserEvents(t.Context(), u.ID, Page{Number: 1, PerPage: 10})
	if err != nil || events[0].Type != EventNetworkNearlyFull || events[0].ProjectID != p.ID || events[0].Data["members"] != 1022. || events[0].Data["capacity"] != float64(platform.MaxMembers) {
		t.Errorf("the newest event is %+v (error %v)", events[0], err)
	}
	if event, _, err := s.NoteNetworkUse(t.Context(), "pn-gone", 1000); event != "" || err != nil {
		t.Errorf("a network that is gone gives %q, %v", event, err)
	}
}
