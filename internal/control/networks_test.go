package control

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/internal/reconcile"
	"github.com/atollhq/atoll/internal/roster"
	"github.com/atollhq/atoll/internal/store"
)

func TestOwnersAreToldOfFullNetworks(t *testing.T) {
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "atoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u, err := s.CreateUser(t.Context(), "ada", "ada@example.test", "Ada", "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.DefaultProject(t.Context(), u.ID)
	if err != nil {
		t.Fatal(err)
	}
	r := roster.New()
	fill := func(from, to int) {
		for n := from; n < to; n++ {
			r.Put(platform.Instance{ID: fmt.Sprint(n), NetworkID: p.Network.ID, Number: n, PrivateAddr: platform.FirstPrivateAddr})
		}
	}
	c := &Control{Config: Config{Store: s, Reconciler: &reconcile.Reconciler{Roster: r}, Log: slog.New(slog.DiscardHandler)}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	fill(0, 700)
	go func() { c.WatchNetworks(ctx); close(ended) }()
	defer func() { stop(); <-ended }()

	await := func(want ...string) {
		t.Helper()
		var got []string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			got = nil
			events, _, err := s.UserEvents(t.Context(), u.ID, store.Page{Number: 1, PerPage: 50})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if e.Type == store.EventNetworkNearlyFull || e.Type == store.EventNetworkHasRoom {
					got = append(got, e.Type)
				}
			}
			if cmp.Equal(want, got) {
				return
			}
		}
		t.Fatalf("events (-want +got):\n%s", cmp.Diff(want, got))
	}
	fill(700, 818)
	await(store.EventNetworkNearlyFull)
	for n := range 818 {
		r.Delete(fmt.Sprint(n))
	}
	await(store.EventNetworkHasRoom, store.EventNetworkNearlyFull)
}
