package attack

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atollhq/atoll/e2e/attack/order"
	"github.com/atollhq/atoll/e2e/rig"
)

// deed is an attack through the kernel's own sockets: most need no capability.
type deed struct {
	name  string
	order func(mark string) order.Order
	// before are changes of the attacker's interfaces, which need
	// CAP_NET_ADMIN; after undoes them.
	before, after []string
	// reasons are counters of which one must have counted.
	reasons []string
	// privileged are those that an app cannot try at all.
	privileged bool
}

// wait is how long an answer is waited for that must not come.
const wait = 400 * time.Millisecond

// commit carries a deed out at the twin, as an app, and with capabilities.
func (s *siege) commit(t *testing.T, d deed) {
	t.Run(d.name, func(t *testing.T) {
		s.twinNotices(t, d)
		var asApp string
		if d.privileged || len(d.before) > 0 {
			o := d.order(newMark())
			if len(d.before) > 0 {
				o = order.Order{Configure: &order.Configure{Lines: d.before}}
			}
			s.wantForbidden(t, o)
			asApp = "EPERM"
		} else {
			asApp = s.tryAsApp(t, d)
		}
		more := s.witness(t, d, s.attacker.granted)
		rig.Report(t, "attack: "+d.name, "0 delivered; counted: %s; as an app: %s; the twin noticed", more, asApp)
	})
}

// tryAsApp does what any process may try. Some kernels keep it to themselves
// (source routes, for instance): then there is nothing to count.
func (s *siege) tryAsApp(t *testing.T, d deed) string {
	t.Helper()
	if out := s.attacker.plain.do(t, d.order(newMark())); out.Error == "EPERM" {
		return out.Error
	}
	return "0 delivered, counted: " + s.witness(t, d, s.attacker.plain).String()
}

// witness does it and checks that nothing arrived, and that it was counted.
func (s *siege) witness(t *testing.T, d deed, by post) (more drops) {
	t.Helper()
	mark, before := newMark(), readDrops(t, s.Machine)
	// Again until it is counted: while the attacker's kernel asks for a MAC, or
	// has given up, it sends nothing.
	rig.Await(t, 2*arrival, "the drops to be counted", func() error {
		out := s.perform(t, d, by, mark)
		s.wantNoAnswer(t, out)
		more = readDrops(t, s.Machine).since(before)
		if !slices.ContainsFunc(d.reasons, func(reason string) bool { return more[reason] > 0 }) {
			return fmt.Errorf("counted: %s, want %q; the outcome was %+v", more, d.reasons, out)
		}
		return nil
	})
	s.delivered(t, mark, true)
	return more
}

// wantNoAnswer checks that no target answered.
func (s *siege) wantNoAnswer(t *testing.T, out order.Outcome) {
	t.Helper()
	for target, result := range out.Results {
		if host, _, _ := net.SplitHostPort(target); host == s.attacker.pn0.String() || host == s.attacker.eth0.String() {
			continue // the attacker's own service hears its broadcasts
		}
		if result == "connected" || strings.HasPrefix(result, "answer: ") {
			t.Errorf("%s: %s", target, result)
		}
	}
}

// perform does it between its changes of the interfaces, which are undone.
func (s *siege) perform(t *testing.T, d deed, by post, mark string) order.Outcome {
	t.Helper()
	if len(d.before) > 0 {
		by.must(t, order.Order{Configure: &order.Configure{Lines: d.before}})
		defer by.must(t, order.Order{Configure: &order.Configure{Lines: d.after}})
	}
	return by.do(t, d.order(mark))
}

// twinNotices does it where it must arrive: somebody answers, or the mark is
// seen.
func (s *siege) twinNotices(t *testing.T, d deed) {
	t.Helper()
	mark := newMark()
	rig.Await(t, 2*arrival, "the twin to notice (a delivery would not be)", func() error {
		out := s.perform(t, d, s.twin.attacker, mark)
		for _, result := range out.Results {
			if strings.HasPrefix(result, "answer: ") && strings.Contains(result, mark) {
				return nil
			}
		}
		if s.twin.sniffers["pn0"].saw(mark)+s.twin.sniffers["eth0"].saw(mark) > 0 {
			return nil
		}
		return fmt.Errorf("the outcome was %+v", out)
	})
}
