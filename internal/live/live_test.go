package live_test

import (
	"sync"
	"testing"

	"github.com/atollhq/atoll/internal/live"
)

func TestReaderAlwaysSeesTheLastValue(t *testing.T) {
	v := live.New(0)
	const last = 1000
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				n, next := v.Load()
				if n == last {
					return
				}
				<-next
			}
		})
	}
	for range last {
		v.Update(func(n int) (int, bool) { return n + 1, true })
	}
	wg.Wait()
}

func TestNoChangeWakesNobody(t *testing.T) {
	v := live.New("a")
	_, next := v.Load()
	v.Update(func(s string) (string, bool) { return "b", false })
	select {
	case <-next:
		t.Fatal("readers were woken although nothing changed")
	default:
	}
	if s, _ := v.Load(); s != "a" {
		t.Fatalf("value is %q after a refused change", s)
	}
}
