package attack

import (
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/attack/order"
	"github.com/atollhq/atoll/e2e/rig"
)

// post is the Unix socket where an attack program takes orders.
type post string

// orderLimit is longer than any order takes.
const orderLimit = 90 * time.Second

// do has an order carried out.
func (p post) do(t testing.TB, o order.Order) order.Outcome {
	t.Helper()
	out, err := p.try(o)
	if err != nil {
		t.Fatalf("the attack program does not do as it is told: %v", err)
	}
	return out
}

func (p post) try(o order.Order) (out order.Outcome, err error) {
	conn, err := net.Dial("unix", string(p))
	if err != nil {
		return out, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(orderLimit)); err != nil {
		return out, err
	}
	if err := json.NewEncoder(conn).Encode(o); err != nil {
		return out, fmt.Errorf("cannot give an order: %w", err)
	}
	if err := json.NewDecoder(conn).Decode(&out); err != nil {
		return out, fmt.Errorf("there is no outcome: %w", err)
	}
	return out, nil
}

// must has an order carried out that has to work.
func (p post) must(t testing.TB, o order.Order) order.Outcome {
	t.Helper()
	out := p.do(t, o)
	if out.Error != "" {
		t.Fatalf("the order %+v failed: %s", o, out.Error)
	}
	return out
}

// await waits until the program takes orders.
func (p post) await(t testing.TB) {
	t.Helper()
	rig.Await(t, 20*time.Second, "the attack program to take orders", func() error {
		_, err := p.try(order.Order{Heard: &order.Heard{}})
		return err
	})
}
