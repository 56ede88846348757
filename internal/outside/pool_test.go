package outside

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestPoolHandsOutEveryAddressOnceAndLetsThemRest(t *testing.T) {
	now := time.Unix(0, 0)
	p := NewPool(netip.MustParsePrefix("172.17.0.0/29"), func() time.Time { return now })
	taken := netip.MustParseAddr("172.17.0.4")
	if err := p.Reserve(taken); err != nil {
		t.Fatal(err)
	}
	if p.Reserve(taken) == nil || p.Reserve(netip.MustParseAddr("172.17.0.1")) == nil || p.Reserve(netip.MustParseAddr("172.17.0.7")) == nil {
		t.Fatal("an address that is taken, the gateway's or the broadcast address was reserved")
	}
	for _, want := range []string{"172.17.0.2", "172.17.0.3", "172.17.0.5", "172.17.0.6"} {
		if got, err := p.Allocate(); err != nil || got.String() != want {
			t.Fatalf("got %v, %v; want %s", got, err, want)
		}
	}
	var full *FullError
	if _, err := p.Allocate(); !errors.As(err, &full) || full.Next != 0 {
		t.Fatalf("error is %v", err)
	}
	unseen := netip.MustParseAddr("172.17.0.3")
	p.Return(unseen)
	p.Return(unseen)
	if got, err := p.Allocate(); err != nil || got != unseen {
		t.Fatalf("got %v, %v; want %v, which nobody had", got, err, unseen)
	}
	p.Release(netip.MustParseAddr("172.17.0.5"))
	now = now.Add(time.Second)
	p.Release(taken)
	p.Release(taken)
	now = now.Add(MinRest - time.Second - 1)
	if a, err := p.Allocate(); !errors.As(err, &full) || full.Next != 1 {
		t.Fatalf("%v, %v: an address was handed out before it rested, or it is not known when the next is free", a, err)
	}
	now = now.Add(time.Second + 1)
	for _, want := range []string{"172.17.0.5", "172.17.0.4"} {
		if got, err := p.Allocate(); err != nil || got.String() != want {
			t.Fatalf("got %v, %v; want %s, freed longest ago", got, err, want)
		}
	}
}
